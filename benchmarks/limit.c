/* The limit: what the machine itself can do. Start /bin/sh -c true COUNT times, WIDTH at a time, and wait for each.
 *
 *     limit COUNT WIDTH [COMMAND]
 *
 * Prints the seconds that it took. There is no queue here, no file and no record: nothing that runs commands
 * through a shell can be faster.
 */

#define _POSIX_C_SOURCE 200809L

#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

extern char **environ;

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void start(char *command)
{
    char *words[] = {"/bin/sh", "-c", command, NULL};
    pid_t pid;
    int error = posix_spawn(&pid, words[0], NULL, NULL, words, environ);
    if (error) {
        fprintf(stderr, "limit: cannot start %s: %s\n", words[0], strerror(error));
        exit(1);
    }
}

static void collect(void)
{
    int status;
    if (wait(&status) < 0 || status) {
        fprintf(stderr, "limit: a command failed\n");
        exit(1);
    }
}

int main(int count_of_words, char **words)
{
    if (count_of_words < 3) {
        fprintf(stderr, "usage: limit COUNT WIDTH [COMMAND]\n");
        return 2;
    }
    long count = atol(words[1]), width = atol(words[2]), running = 0;
    char *command = count_of_words > 3 ? words[3] : "true";
    double began = now();
    for (long started = 0; started < count; started++) {
        if (running == width) {
            collect();
            running--;
        }
        start(command);
        running++;
    }
    for (; running; running--)
        collect();
    printf("%.6f\n", now() - began);
    return 0;
}
