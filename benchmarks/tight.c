/* The tight loop (inside/tight.py) in C: the same calls to the system for each job, and no interpreter.
 *
 *     tight SPOOL WIDTH
 *
 * Claims by a rename under a new time, reads the job, gives the command two nameless logs and a process group of its own, waits,
 * writes the record of the run into a new file, and renames to completed/ or failed/. What it costs beyond the limit is the
 * kernel's part of a job; what tight.py costs beyond this is Python's. It does not parse a job: each is /bin/sh -c true.
 */

#define _GNU_SOURCE

#include <dirent.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PATH 512

extern char **environ;

static void need(int ok, const char *what)
{
    if (!ok) {
        perror(what);
        _exit(1);
    }
}

static void stamp(char *text)
{
    struct timespec now;
    struct tm parts;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &parts);
    size_t length = strftime(text, 32, "%Y%m%dT%H%M%S", &parts);
    snprintf(text + length, 32 - length, ".%06ldZ", now.tv_nsec / 1000);
}

/* A nameless file in logs/, open for reading. */
static int nameless(void)
{
    char path[64];
    int fd = open("logs", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    need(fd >= 0, "logs");
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int reader = open(path, O_RDONLY | O_CLOEXEC);
    need(reader >= 0 && !close(fd), path);
    return reader;
}

static void read_job(const char *path)
{
    char job[4096];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    need(fd >= 0 && read(fd, job, sizeof job) > 0 && !close(fd), path);
}

static pid_t start(int null, const int *logs)
{
    char *words[] = {"/bin/sh", "-c", "true", NULL}, path[64];
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    pid_t pid;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, null, 0);
    for (int stream = 0; stream < 2; stream++) {
        snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)getpid(), logs[stream]);
        posix_spawn_file_actions_addopen(&actions, stream + 1, path, O_WRONLY | O_APPEND, 0);
    }
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
    need(!posix_spawn(&pid, words[0], &actions, &attributes, words, environ), words[0]);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return pid;
}

/* Nobody can write to the logs any more, and nobody has. */
static void look_at(const int *logs)
{
    for (int stream = 0; stream < 2; stream++) {
        need(!lseek(logs[stream], 0, SEEK_END), "a command printed something");
        need(!fcntl(logs[stream], F_SETLEASE, F_RDLCK) && !fcntl(logs[stream], F_SETLEASE, F_UNLCK), "lease");
    }
}

static void record(const char *path, const char *text, size_t length)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
    need(fd >= 0 && write(fd, text, length) == (ssize_t)length && !close(fd), path);
}

/* One job, unless another worker was first. */
static void take(const char *name, const char *mine, int null, const int *logs)
{
    char began[32], ended[32], pending[PATH], claim[PATH], target[PATH], results[PATH], text[3 * PATH];
    const char *id = strchr(name, '-') + 1;
    struct rusage usage;
    int status;
    stamp(began);
    snprintf(pending, sizeof pending, "pending/%s", name);
    snprintf(claim, sizeof claim, "processing/%s/%s-%s", mine, began, id);
    if (rename(pending, claim))
        return;
    read_job(claim);
    pid_t pid = start(null, logs);
    need(wait4(pid, &status, 0, &usage) == pid, "wait4");
    stamp(ended);
    look_at(logs);
    snprintf(target, sizeof target, "%s/%s-%s", status ? "failed" : "completed", ended, id);
    int length = snprintf(
        text, sizeof text,
        "{\"claim\":\"%s\",\"to\":\"%s\",\"worker\":\"%s\",\"started_at\":\"%s\",\"finished_at\":\"%s\",\"exit_code\":%d,\"cpu_seconds\":%.6f}\n",
        claim, target, mine, began, ended, WEXITSTATUS(status),
        (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) + (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
    snprintf(results, sizeof results, "results/%sl", id);
    record(results, text, (size_t)length);
    need(!rename(claim, target), claim);
}

/* Every job of our share, then whatever the others have left. */
static void work(char **names, long count, long share, long width)
{
    char mine[32], path[PATH];
    snprintf(mine, sizeof mine, "worker-%d", (int)getpid());
    snprintf(path, sizeof path, "processing/%s", mine);
    need(!mkdir(path, 0700), path);
    setsid();
    int logs[] = {nameless(), nameless()}, null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    for (long index = share; index < count; index += width)
        take(names[index], mine, null, logs);
    for (long index = 0; index < count; index++)
        take(names[index], mine, null, logs);
    need(!rmdir(path), path);
}

static int compare(const void *one, const void *other)
{
    return strcmp(*(char *const *)one, *(char *const *)other);
}

static long list(char ***names)
{
    long count = 0, room = 0;
    DIR *directory = opendir("pending");
    need(directory != NULL, "pending");
    for (struct dirent *entry; (entry = readdir(directory));) {
        if (!strchr(entry->d_name, '-'))
            continue;
        if (count == room)
            *names = realloc(*names, (size_t)(room = 2 * room + 1024) * sizeof **names);
        need(*names && ((*names)[count++] = strdup(entry->d_name)), "memory");
    }
    closedir(directory);
    qsort(*names, (size_t)count, sizeof **names, compare);
    return count;
}

int main(int count_of_words, char **words)
{
    const char *made[] = {"processing", "completed", "failed", "results", "logs"};
    if (count_of_words != 3) {
        fprintf(stderr, "usage: tight SPOOL WIDTH\n");
        return 2;
    }
    need(!chdir(words[1]), words[1]);
    for (int index = 0; index < 5; index++)
        mkdir(made[index], 0700);
    char **names = NULL;
    long count = list(&names), width = atol(words[2]);
    for (long share = 0; share < width; share++) {
        pid_t pid = fork();
        need(pid >= 0, "fork");
        if (!pid) {
            work(names, count, share, width);
            _exit(0);
        }
    }
    int status, failed = 0;
    while (wait(&status) > 0)
        failed |= status;
    return failed != 0;
}
