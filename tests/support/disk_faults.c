/* Preloaded into the server by the fault tests: lets its disk fail on command.
 *
 * DISK_FAULTS names a file. While that file is there it holds one order, "<fault> <pattern>", that counts for
 * every open file whose base name matches the pattern:
 *
 *   full   writing and growing find no space
 *   quota  writing and growing find the quota of the file system used up
 *   break  writing reports an input/output error
 *   fail   a sync reports an input/output error
 *   skip   a sync answers that all is well, and nothing is synced
 *
 * Each time that an order is followed, a byte is added to a file of the same name with ".met" behind it. What the
 * library lets through is the system's own call.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Whether the present order asks for this fault on this file. */
static int ordered(const char *fault, int fd) {
    const char *orders = getenv("DISK_FAULTS");
    int file = orders ? open(orders, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return 0;
    char order[256], link[64], path[PATH_MAX], asked[16], pattern[200];
    ssize_t length = read(file, order, sizeof order - 1);
    close(file);
    if (length <= 0) return 0;
    order[length] = 0;
    if (sscanf(order, "%15s %199s", asked, pattern) != 2 || strcmp(asked, fault)) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    length = readlink(link, path, sizeof path - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    const char *slash = strrchr(path, '/');
    return slash && !fnmatch(pattern, slash + 1, 0);
}

/* Leaves a mark that an order was followed. */
static void mark(void) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s.met", getenv("DISK_FAULTS"));
    int file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (file < 0) abort();
    syscall(SYS_write, file, ".", 1);
    close(file);
}

/* The answer of a call that the order lets fail, or PASS. */
enum { PASS = 1 };

static int fault_of(const char *fault, int fd, int error) {
    int before = errno;
    int hit = ordered(fault, fd);
    if (hit) mark();
    errno = hit ? error : before;
    return hit ? -1 : PASS;
}

static int fault_of_growth(int fd) {
    if (fault_of("full", fd, ENOSPC) != PASS) return -1;
    return fault_of("quota", fd, EDQUOT);
}

static int fault_of_write(int fd) {
    if (fault_of_growth(fd) != PASS) return -1;
    return fault_of("break", fd, EIO);
}

static int fault_of_sync(int fd) {
    if (fault_of("skip", fd, errno) != PASS) return 0;
    return fault_of("fail", fd, EIO);
}

/* Defines a function of the C library that asks first. */
#define ASK(type, name, parameters, arguments, verdict)          \
    type name parameters {                                       \
        static type (*real) parameters;                          \
        if (!real) *(void **)&real = dlsym(RTLD_NEXT, #name);    \
        int answer = (verdict);                                  \
        return answer == PASS ? real arguments : answer;         \
    }

ASK(int, fsync, (int fd), (fd), fault_of_sync(fd))
ASK(int, fdatasync, (int fd), (fd), fault_of_sync(fd))
ASK(int, ftruncate, (int fd, off_t size), (fd, size), fault_of_growth(fd))
ASK(int, ftruncate64, (int fd, off64_t size), (fd, size), fault_of_growth(fd))
ASK(ssize_t, write, (int fd, const void *data, size_t count), (fd, data, count), fault_of_write(fd))
ASK(ssize_t, pwrite, (int fd, const void *data, size_t count, off_t place), (fd, data, count, place),
    fault_of_write(fd))
ASK(ssize_t, pwrite64, (int fd, const void *data, size_t count, off64_t place), (fd, data, count, place),
    fault_of_write(fd))
