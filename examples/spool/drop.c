/* Drop a job for each line of stdin, a shell command, into a queuectl spool:  cc -o drop drop.c && ./drop SPOOL < commands
 * Each is written whole in tmp/, is on disk, and then comes into pending/ by one rename, under a name that nobody else uses. */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int main(int count, char **words)
{
    char *line = NULL, from[64], to[80];
    size_t room = 0;
    ssize_t length;
    if (count != 2)
        errx(2, "usage: drop SPOOL < commands");
    if (chdir(words[1]))
        err(1, "%s", words[1]);
    while ((length = getline(&line, &room, stdin)) > 0) {
        if (line[length - 1] == '\n' && --length == 0)
            continue;
        snprintf(from, sizeof from, "tmp/c-%ld-%d-XXXXXX", (long)time(NULL), (int)getpid());
        FILE *file = fdopen(mkstemp(from), "w");
        if (!file || fputs("{\"command\": \"", file) < 0)
            err(1, "%s", from);
        for (char *c = line; c < line + length; c++)
            fprintf(file, (unsigned char)*c < ' ' || *c == '"' || *c == '\\' ? "\\u%04x" : "%c", (unsigned char)*c);
        fputs("\"}\n", file);
        snprintf(to, sizeof to, "pending/%s.json", from + 4);
        /* On disk before it has a name that counts. */
        if (fflush(file) || ferror(file) || fsync(fileno(file)) || fclose(file) || rename(from, to))
            err(1, "%s", from);
    }
    /* The names are on disk now, too. */
    if (ferror(stdin) || fsync(open("tmp", O_RDONLY)) || fsync(open("pending", O_RDONLY)))
        err(1, "%s", words[1]);
}
