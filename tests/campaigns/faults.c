/* Loaded before the C library (LD_PRELOAD): counts the calls by which a process changes files under one folder, and at
 * a chosen one kills the process or says that the disk is full. It can also move the clock about.
 *
 * What to do stands in a small file that is mapped into memory (FAULTS_CONTROL, the struct below), so that one process
 * can tell another, and a child that was forked after the start is told too.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { NOTHING, KILL_BEFORE, KILL_AFTER, KILL_HALFWAY, DISK_FULL };
enum { WRITE = 1, OPEN = 2, RENAME = 4, SYNC = 8, REMOVE = 16 };

struct control {
    _Atomic int armed;    /* the process that is watched; 0: none */
    _Atomic int action;   /* as above */
    _Atomic int kinds;    /* which calls count */
    _Atomic int clock;    /* 0: true; 1: years back and forth with every look */
    _Atomic long count;   /* calls so far */
    _Atomic long at;      /* the call at which the fault happens, from 1 on */
    _Atomic long outside; /* files opened for writing outside the folder */
    char last[128];       /* what the fault happened to: "rename /run/motion/..." */
    char stray[512];      /* the first file outside, its name's begin */
    char folder[2048];    /* whose files are watched, an absolute name without links */
};

static struct control *shared;

__attribute__((constructor)) static void begin(void) {
    const char *name = getenv("FAULTS_CONTROL");
    int file = name ? (int)syscall(SYS_openat, AT_FDCWD, name, O_RDWR) : -1;
    if (file < 0) return;
    void *there = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (there != MAP_FAILED) shared = there;
    syscall(SYS_close, file);
}

static int watched(void) { return shared && shared->armed && shared->armed == (int)getpid(); }

static int under(const char *path) {
    size_t length = strlen(shared->folder);
    return length && !strncmp(path, shared->folder, length) && (path[length] == '/' || !path[length]);
}

/* The name behind a descriptor. */
static int name_of(int file, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    path[length < 0 ? 0 : length] = 0;
    return length > 0;
}

/* An absolute name; links within it stay. */
static void absolute(int folder, const char *path, char *whole) {
    char base[PATH_MAX] = "";
    if (path[0] == '/') {
        snprintf(whole, PATH_MAX, "%s", path);
        return;
    }
    if (folder == AT_FDCWD) {
        if (!getcwd(base, sizeof base)) base[0] = 0;
    } else {
        name_of(folder, base);
    }
    while (!strncmp(path, "./", 2)) path += 2;
    if (snprintf(whole, PATH_MAX, "%s/%s", base, path) >= PATH_MAX) whole[0] = 0;
}

static void die(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

/* Called before a call on a file of the folder. 0: go on; 1: half of it, then die; 2: die after it; 3: full. */
static int fault(int kind, const char *call, const char *path) {
    if (!(shared->kinds & kind)) return 0;
    long number = ++shared->count;
    int action = shared->action;
    if (action == NOTHING || !shared->at || number < shared->at) return 0;
    if (number == shared->at) snprintf(shared->last, sizeof shared->last, "%s %s", call, path + strlen(shared->folder));
    if (action == DISK_FULL) return kind == REMOVE ? 0 : 3;
    if (number > shared->at) return 0;
    if (action == KILL_BEFORE) die();
    return action == KILL_HALFWAY && kind == WRITE ? 1 : 2;
}

static int fault_at(int kind, const char *call, int folder, const char *path) {
    char whole[PATH_MAX];
    if (!watched() || !path) return 0;
    absolute(folder, path, whole);
    return under(whole) ? fault(kind, call, whole) : 0;
}

static int fault_of(int kind, const char *call, int file) {
    char whole[PATH_MAX];
    if (!watched() || !name_of(file, whole)) return 0;
    return under(whole) ? fault(kind, call, whole) : 0;
}

#define REAL(name) \
    static __typeof__(name) *real; \
    if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)
#define FULL(answer) do { errno = ENOSPC; return answer; } while (0)
#define AROUND(kind_of_fault, answer, call) \
    int wrong = kind_of_fault; \
    if (wrong == 3) FULL(answer); \
    __typeof__(call) done = call; \
    if (wrong) die(); \
    return done

ssize_t write(int file, const void *data, size_t size) {
    REAL(write);
    int wrong = fault_of(WRITE, "write", file);
    if (wrong == 3) FULL(-1);
    ssize_t done = real(file, data, wrong == 1 ? size / 2 : size);
    if (wrong) die();
    return done;
}
ssize_t pwrite(int file, const void *data, size_t size, off_t from) {
    REAL(pwrite);
    AROUND(fault_of(WRITE, "pwrite", file), -1, real(file, data, size, from));
}
ssize_t pwrite64(int file, const void *data, size_t size, off64_t from) {
    REAL(pwrite64);
    AROUND(fault_of(WRITE, "pwrite", file), -1, real(file, data, size, from));
}
ssize_t writev(int file, const struct iovec *parts, int count) {
    REAL(writev);
    AROUND(fault_of(WRITE, "writev", file), -1, real(file, parts, count));
}
ssize_t sendfile(int to, int from, off_t *where, size_t size) {
    REAL(sendfile);
    AROUND(fault_of(WRITE, "sendfile", to), -1, real(to, from, where, size));
}
ssize_t sendfile64(int to, int from, off64_t *where, size_t size) {
    REAL(sendfile64);
    AROUND(fault_of(WRITE, "sendfile", to), -1, real(to, from, where, size));
}
ssize_t copy_file_range(int from, off64_t *a, int to, off64_t *b, size_t size, unsigned flags) {
    REAL(copy_file_range);
    AROUND(fault_of(WRITE, "copy_file_range", to), -1, real(from, a, to, b, size, flags));
}
int ftruncate(int file, off_t size) {
    REAL(ftruncate);
    AROUND(fault_of(WRITE, "ftruncate", file), -1, real(file, size));
}
int ftruncate64(int file, off64_t size) {
    REAL(ftruncate64);
    AROUND(fault_of(WRITE, "ftruncate", file), -1, real(file, size));
}
int fsync(int file) {
    REAL(fsync);
    AROUND(fault_of(SYNC, "fsync", file), -1, real(file));
}
int fdatasync(int file) {
    REAL(fdatasync);
    AROUND(fault_of(SYNC, "fdatasync", file), -1, real(file));
}
int rename(const char *from, const char *to) {
    REAL(rename);
    AROUND(fault_at(RENAME, "rename", AT_FDCWD, to), -1, real(from, to));
}
int renameat(int a, const char *from, int b, const char *to) {
    REAL(renameat);
    AROUND(fault_at(RENAME, "rename", b, to), -1, real(a, from, b, to));
}
int link(const char *from, const char *to) {
    REAL(link);
    AROUND(fault_at(RENAME, "link", AT_FDCWD, to), -1, real(from, to));
}
int linkat(int a, const char *from, int b, const char *to, int flags) {
    REAL(linkat);
    AROUND(fault_at(RENAME, "link", b, to), -1, real(a, from, b, to, flags));
}
int mkdir(const char *path, mode_t mode) {
    REAL(mkdir);
    AROUND(fault_at(OPEN, "mkdir", AT_FDCWD, path), -1, real(path, mode));
}
int mkdirat(int folder, const char *path, mode_t mode) {
    REAL(mkdirat);
    AROUND(fault_at(OPEN, "mkdir", folder, path), -1, real(folder, path, mode));
}
int unlink(const char *path) {
    REAL(unlink);
    AROUND(fault_at(REMOVE, "unlink", AT_FDCWD, path), -1, real(path));
}
int unlinkat(int folder, const char *path, int flags) {
    REAL(unlinkat);
    AROUND(fault_at(REMOVE, "unlink", folder, path), -1, real(folder, path, flags));
}
int rmdir(const char *path) {
    REAL(rmdir);
    AROUND(fault_at(REMOVE, "rmdir", AT_FDCWD, path), -1, real(path));
}

/* Files that are opened for writing: a fault where they lie in the folder, a note where not. */
static int opening(int folder, const char *path, int flags) {
    char whole[PATH_MAX];
    if (!watched() || !path || !(flags & (O_WRONLY | O_RDWR | O_CREAT))) return 0;
    absolute(folder, path, whole);
    if (under(whole)) return fault(OPEN, "open", whole);
    if (strncmp(whole, "/dev/", 5) && strncmp(whole, "/proc/", 6) && !shared->outside++)
        snprintf(shared->stray, sizeof shared->stray, "%.511s", whole);
    return 0;
}
#define OPENS(name) \
    int name(const char *path, int flags, ...) { \
        REAL(name); \
        va_list more; \
        va_start(more, flags); \
        mode_t mode = va_arg(more, mode_t); \
        va_end(more); \
        AROUND(opening(AT_FDCWD, path, flags), -1, real(path, flags, mode)); \
    }
#define OPENS_AT(name) \
    int name(int folder, const char *path, int flags, ...) { \
        REAL(name); \
        va_list more; \
        va_start(more, flags); \
        mode_t mode = va_arg(more, mode_t); \
        va_end(more); \
        AROUND(opening(folder, path, flags), -1, real(folder, path, flags, mode)); \
    }
#undef open
#undef open64
#undef openat
#undef openat64
OPENS(open)
OPENS(open64)
OPENS_AT(openat)
OPENS_AT(openat64)
static int flags_of(const char *mode) { return strpbrk(mode, "wa+") ? O_WRONLY : 0; }
FILE *fopen(const char *path, const char *mode) {
    REAL(fopen);
    AROUND(opening(AT_FDCWD, path, flags_of(mode)), NULL, real(path, mode));
}
FILE *fopen64(const char *path, const char *mode) {
    REAL(fopen64);
    AROUND(opening(AT_FDCWD, path, flags_of(mode)), NULL, real(path, mode));
}

/* The clock: each look at the time of day is years before or after the one before. */
static long shift(void) {
    static _Atomic long looks;
    static const long years[] = {0, 9, -20, 3, -1, 14};
    return watched() && shared->clock ? years[++looks % 6] * 31557600L : 0;
}
int clock_gettime(clockid_t which, struct timespec *now) {
    REAL(clock_gettime);
    int done = real(which, now);
    if (!done && which == CLOCK_REALTIME) now->tv_sec += shift();
    return done;
}
time_t time(time_t *out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}
int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    REAL(gettimeofday);
    int done = real(now, zone);
    if (!done) now->tv_sec += shift();
    return done;
}

/* libfaketime 0.9.10 refuses to sleep until a moment of the monotonic clock when it is told to leave that clock alone
 * (EINVAL): such a sleep goes to the kernel. */
int clock_nanosleep(clockid_t which, int flags, const struct timespec *until, struct timespec *left) {
    REAL(clock_nanosleep);
    if (which != CLOCK_MONOTONIC) return real(which, flags, until, left);
    return syscall(SYS_clock_nanosleep, which, flags, until, left) ? errno : 0;
}
