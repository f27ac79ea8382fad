/* Preloaded into a user-mode kernel, so that it runs on CPUs with more registers than it knows.
 *
 * Debian 12's kernel keeps the extended registers of a process (XSAVE) in 2,696 bytes. A CPU with AMX has 11,008 of them, and
 * its host refuses to set them from a buffer that is too short. So read all of them, put those that the guest's kernel knows
 * over their beginning, and write all of them back. Everything else goes through unchanged.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { PEEK_FIRST = 1, PEEK_LAST = 3, GET_REGISTERS = 0x4204, SET_REGISTERS = 0x4205, EXTENDED = 0x202 };

long ptrace(int request, ...)
{
    static char whole[65536] __attribute__((aligned(64)));
    va_list words;
    va_start(words, request);
    long pid = va_arg(words, long);
    void *address = va_arg(words, void *);
    void *data = va_arg(words, void *);
    va_end(words);

    if (request == SET_REGISTERS && (long)address == EXTENDED) {
        struct iovec *known = data, all = {whole, sizeof whole};
        long failed = syscall(SYS_ptrace, GET_REGISTERS, (int)pid, address, &all);
        if (!failed && all.iov_len > known->iov_len) {
            memcpy(whole, known->iov_base, known->iov_len);
            return syscall(SYS_ptrace, request, (int)pid, address, &all);
        }
    }
    if (request >= PEEK_FIRST && request <= PEEK_LAST) { /* the system call stores the word, the library answers it */
        long word, failed = syscall(SYS_ptrace, request, (int)pid, address, &word);
        if (failed < 0)
            return failed;
        errno = 0;
        return word;
    }
    return syscall(SYS_ptrace, request, (int)pid, address, data);
}
