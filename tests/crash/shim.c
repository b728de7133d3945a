/* Watches what a process does to the files below one folder, and can make a chosen call fail.
 *
 * Preloaded (LD_PRELOAD), it stands between a program and the kernel, below Python and below SQLite:
 *   - each change below the folder is appended to a log, with its bytes, in the order in which it happened;
 *   - the n-th call can fail with an error, write only a half, or be the last thing the process does.
 *
 * It keeps no table of descriptors: which file a descriptor means is asked of /proc/self/fd, so that dup, fork,
 * exec and closing need no bookkeeping. The log names files by their inode. Calls reach the kernel by syscall(),
 * never through the functions that are replaced here. What the log cannot express is logged as UNMODELLED.
 *
 * Not seen: stdio (it calls within libc, so opening for writing with fopen is logged as UNMODELLED), stores through
 * a shared mapping (making one is UNMODELLED), io_uring. A reader of the log compares the folder at the end.
 *
 * Environment: CRASH_ROOT (folder), CRASH_LOG (file), CRASH_IGNORE (ending of names that are not watched),
 * CRASH_FAULT (kind:at:times). Functions for the process itself: crash_watch, crash_mark, crash_arm, crash_calls.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define LONGEST (PATH_MAX + 16)
#define ALIAS(name) __attribute__((alias(#name)))

enum kind { MARK = 1, CREATE, WRITE, RESIZE, SYNC, RENAME, UNLINK, LINK, MKDIR, RMDIR, SYNC_ALL, UNMODELLED };
enum fault { NONE, KILL, KILL_HALF, FULL, BROKEN, SHORT, INTERRUPTED, UNREADABLE };
/* What a call can suffer: a full disk needs one that takes room, an interruption one that may wait. */
enum trait { TAKES_ROOM = 1, MAY_WAIT = 2, CAN_BE_SHORT = 4, READS = 8 };

struct record { /* then: path, other path, data; little-endian as the machine is */
    uint32_t kind, pid;
    int32_t error;
    uint32_t path, other, flags;
    uint64_t inode, offset, size; /* size of the data that follow, or of the file after RESIZE */
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static char root[LONGEST], ignored[64], log_path[LONGEST];
static size_t root_length;
static int log_file = -1;
static struct { enum fault kind; long at, times, changes, reads, fired; } armed;

/* ---- locks: one call at a time, so that the log has the order of the calls ---- */

static void lock(void) {
    pthread_mutex_lock(&mutex);
    if (log_file >= 0) syscall(SYS_flock, log_file, LOCK_EX);
}

static void unlock(void) {
    int kept = errno;
    if (log_file >= 0) syscall(SYS_flock, log_file, LOCK_UN);
    pthread_mutex_unlock(&mutex);
    errno = kept;
}

static void open_log(void) {
    if (log_file >= 0) syscall(SYS_close, log_file);
    log_file = *log_path ? (int)syscall(SYS_openat, AT_FDCWD, log_path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644) : -1;
}

/* flock belongs to the open file: a child that shared it with its parent would not be kept out. */
static void in_child(void) {
    pthread_mutex_unlock(&mutex);
    log_file = -1; /* the parent's descriptor stays open, and is not used */
    open_log();
}

/* ---- names ---- */

static int is_watched(const char *path) {
    size_t n = strlen(path), e = strlen(ignored);
    const char *gone = " (deleted)";
    if (n > strlen(gone) && !strcmp(path + n - strlen(gone), gone)) n -= strlen(gone);
    if (!root_length || strncmp(path, root, root_length) || (path[root_length] && path[root_length] != '/')) return 0;
    return !(e && n >= e && !strncmp(path + n - e, ignored, e));
}

/* The name of a descriptor's file, absolute; whether it is watched. */
static int of_descriptor(int fd, char *out) {
    char link[32];
    if (!root_length || fd < 0) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = syscall(SYS_readlinkat, AT_FDCWD, link, out, LONGEST - 1);
    out[n > 0 ? n : 0] = 0;
    return n > 0 && is_watched(out);
}

/* The absolute name of path as seen from the folder dir, without . and .. */
static int of_path(int dir, const char *path, char *out) {
    char whole[2 * LONGEST];
    size_t n = 0;
    if (!root_length || !path) return 0;
    if (*path == '/') *whole = 0;
    else if (dir == AT_FDCWD) { if (syscall(SYS_getcwd, whole, LONGEST) < 0) return 0; }
    else {
        char link[32];
        snprintf(link, sizeof link, "/proc/self/fd/%d", dir);
        ssize_t got = syscall(SYS_readlinkat, AT_FDCWD, link, whole, LONGEST - 1);
        if (got <= 0) return 0;
        whole[got] = 0;
    }
    if (strlen(whole) + strlen(path) + 2 > LONGEST) return 0;
    strcat(strcat(whole, "/"), path);
    for (char *save = NULL, *part = strtok_r(whole, "/", &save); part; part = strtok_r(NULL, "/", &save)) {
        if (!strcmp(part, ".")) continue;
        if (!strcmp(part, "..")) { while (n && out[--n] != '/') {} continue; }
        out[n++] = '/';
        memcpy(out + n, part, strlen(part));
        n += strlen(part);
    }
    out[n] = 0;
    return is_watched(out);
}

static const char *below_root(const char *path) { return path[root_length] ? path + root_length + 1 : ""; }

static uint64_t inode_of(int fd) {
    struct stat s;
    return fstat(fd, &s) ? 0 : s.st_ino;
}

/* ---- the log ---- */

static void note(enum kind kind, const char *path, const char *other, uint64_t inode, uint64_t offset, const void *data,
                 uint64_t size, int flags, int error) {
    int kept = errno;
    if (log_file < 0) return;
    struct record r = {kind, (uint32_t)getpid(), error, path ? strlen(path) : 0, other ? strlen(other) : 0, flags, inode, offset, size};
    struct iovec parts[] = {{&r, sizeof r}, {(void *)path, r.path}, {(void *)other, r.other}, {(void *)data, data ? size : 0}};
    if (syscall(SYS_writev, log_file, parts, 4) != (long)(sizeof r + r.path + r.other + (data ? size : 0))) {
        static const char sad[] = "crash shim: the log cannot be written\n";
        syscall(SYS_write, 2, sad, sizeof sad - 1);
        _exit(97);
    }
    errno = kept;
}

/* ---- faults ---- */

static void die(void) {
    syscall(SYS_kill, getpid(), SIGKILL);
    for (;;) pause();
}

/* Counts a call. The error that it shall have, 0 for none; `half` tells that only a half shall be written. */
static int due(int traits, int *half) {
    long now = traits & READS ? ++armed.reads : ++armed.changes;
    if (armed.kind == NONE || armed.at <= 0 || now < armed.at || now >= armed.at + armed.times) return 0;
    if ((armed.kind == UNREADABLE) != !!(traits & READS)) return 0;
    switch (armed.kind) {
    case KILL: die(); break;
    case KILL_HALF: if (!(traits & CAN_BE_SHORT)) die(); *half = 1; break;
    case SHORT: *half = !!(traits & CAN_BE_SHORT); armed.fired += *half; return 0;
    case FULL: if (traits & TAKES_ROOM) { armed.fired++; return ENOSPC; } break;
    case INTERRUPTED: if (traits & MAY_WAIT) { armed.fired++; return EINTR; } break;
    case BROKEN: case UNREADABLE: armed.fired++; return EIO;
    default: break;
    }
    return 0;
}

#define FAIL_IF_DUE(traits)                                                   \
    int half = 0, error = due(traits, &half);                                 \
    (void)half;                                                               \
    if (error) { unlock(); errno = error; return -1; }

/* ---- what the process under test calls itself ---- */

void crash_arm(int kind, long at, long times) {
    lock();
    armed.kind = kind; armed.at = at; armed.times = times;
    armed.changes = armed.reads = armed.fired = 0;
    unlock();
}

/* 0: changes since crash_arm, 1: reads, 2: how often the fault struck. */
long crash_calls(int which) { return which == 0 ? armed.changes : which == 1 ? armed.reads : armed.fired; }

void crash_mark(const char *text, unsigned long size) {
    lock();
    note(MARK, NULL, NULL, 0, 0, text, size, 0, 0);
    unlock();
}

/* Watch a folder (absolute, links resolved) and log to a file; an empty name for none. */
void crash_watch(const char *folder, const char *log) {
    struct stat s;
    pthread_mutex_lock(&mutex);
    snprintf(root, sizeof root, "%s", folder);
    snprintf(log_path, sizeof log_path, "%s", log);
    root_length = strlen(root);
    open_log();
    if (log_file >= 0 && !stat(root, &s) && !lseek(log_file, 0, SEEK_END)) note(MKDIR, "", NULL, s.st_ino, 0, NULL, 0, 0, 0);
    pthread_mutex_unlock(&mutex);
}

static void before_fork(void) { pthread_mutex_lock(&mutex); }
static void after_fork(void) { pthread_mutex_unlock(&mutex); }

__attribute__((constructor)) static void start(void) {
    const char *folder = getenv("CRASH_ROOT"), *log = getenv("CRASH_LOG"), *end = getenv("CRASH_IGNORE"), *fault = getenv("CRASH_FAULT");
    int kind; long at, times;
    pthread_atfork(before_fork, after_fork, in_child);
    snprintf(ignored, sizeof ignored, "%s", end ? end : "");
    if (folder) crash_watch(folder, log ? log : "");
    if (fault && sscanf(fault, "%d:%ld:%ld", &kind, &at, &times) == 3) crash_arm(kind, at, times);
}

/* ---- opening ---- */

static int open_at(int dir, const char *path, int flags, mode_t mode) {
    char name[LONGEST];
    int changes = (flags & (O_CREAT | O_TRUNC)) || (flags & O_TMPFILE) == O_TMPFILE;
    if (!changes || !of_path(dir, path, name)) return syscall(SYS_openat, dir, path, flags, mode);
    lock();
    int existed = !syscall(SYS_faccessat, dir, path, F_OK);
    FAIL_IF_DUE(MAY_WAIT | (existed ? 0 : TAKES_ROOM));
    int fd = syscall(SYS_openat, dir, path, flags, mode);
    if (fd >= 0) {
        if ((flags & O_TMPFILE) == O_TMPFILE) note(UNMODELLED, "O_TMPFILE", NULL, 0, 0, NULL, 0, 0, 0);
        else if (!existed) note(CREATE, below_root(name), NULL, inode_of(fd), 0, NULL, 0, 0, 0);
        else if (flags & O_TRUNC) note(RESIZE, below_root(name), NULL, inode_of(fd), 0, NULL, 0, 0, 0);
    }
    unlock();
    return fd;
}

#define MODE(flags, last)                                                     \
    mode_t mode = 0;                                                          \
    if ((flags) & (O_CREAT | O_TMPFILE)) {                                    \
        va_list rest; va_start(rest, last); mode = va_arg(rest, int); va_end(rest); \
    }

int open(const char *path, int flags, ...) { MODE(flags, flags); return open_at(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) ALIAS(open);
int openat(int dir, const char *path, int flags, ...) { MODE(flags, flags); return open_at(dir, path, flags, mode); }
int openat64(int dir, const char *path, int flags, ...) ALIAS(openat);
int __open_2(const char *path, int flags) { return open_at(AT_FDCWD, path, flags, 0); }
int __open64_2(const char *path, int flags) ALIAS(__open_2);
int __openat_2(int dir, const char *path, int flags) { return open_at(dir, path, flags, 0); }
int __openat64_2(int dir, const char *path, int flags) ALIAS(__openat_2);
int creat(const char *path, mode_t mode) { return open_at(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) ALIAS(creat);

FILE *fopen(const char *path, const char *mode) {
    static FILE *(*real)(const char *, const char *);
    char name[LONGEST];
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, "fopen");
    if (strpbrk(mode, "wa+") && of_path(AT_FDCWD, path, name)) {
        lock();
        note(UNMODELLED, "fopen", below_root(name), 0, 0, NULL, 0, 0, 0);
        unlock();
    }
    return real(path, mode);
}
FILE *fopen64(const char *path, const char *mode) ALIAS(fopen);

/* ---- writing ---- */

/* All forms of writing: `at` is -1 where the descriptor stands, `count` buffers. */
static ssize_t put(int fd, const struct iovec *parts, int count, off_t at, int flags) {
    char name[LONGEST];
    if (!of_descriptor(fd, name)) {
        if (flags || (at >= 0 && count != 1)) return syscall(SYS_pwritev2, fd, parts, count, at, at < 0 ? -1L : 0L, flags);
        if (at >= 0) return syscall(SYS_pwrite64, fd, parts->iov_base, parts->iov_len, at);
        return count == 1 ? syscall(SYS_write, fd, parts->iov_base, parts->iov_len) : syscall(SYS_writev, fd, parts, count);
    }
    size_t size = 0, filled = 0;
    for (int i = 0; i < count; i++) size += parts[i].iov_len;
    lock();
    FAIL_IF_DUE(TAKES_ROOM | MAY_WAIT | (size > 1 ? CAN_BE_SHORT : 0));
    char *data = malloc(size + 1);
    for (int i = 0; data && i < count; filled += parts[i++].iov_len) memcpy(data + filled, parts[i].iov_base, parts[i].iov_len);
    struct iovec whole = {data, half ? size / 2 : size};
    ssize_t done = !data ? (errno = ENOMEM, -1)
        : flags          ? syscall(SYS_pwritev2, fd, &whole, 1, at, at < 0 ? -1L : 0L, flags)
        : at >= 0        ? syscall(SYS_pwrite64, fd, data, whole.iov_len, at)
                         : syscall(SYS_write, fd, data, whole.iov_len);
    if (done > 0) {
        /* Appending ignores the offset, even that of pwrite. */
        int mode = fcntl(fd, F_GETFL), appends = mode & O_APPEND;
        off_t end = at < 0 ? lseek(fd, 0, SEEK_CUR) : 0;
        struct stat s = {0};
        if (appends && at >= 0 && !fstat(fd, &s)) at = s.st_size - done;
        note(WRITE, below_root(name), NULL, inode_of(fd), at < 0 ? end - done : at, data, done, 0, 0);
        if (mode & O_DSYNC || flags & (RWF_DSYNC | RWF_SYNC)) note(SYNC, below_root(name), NULL, inode_of(fd), 0, NULL, 0, 0, 0);
    }
    if (half && armed.kind == KILL_HALF) die();
    int kept = errno;
    free(data);
    errno = kept;
    unlock();
    return done;
}

ssize_t write(int fd, const void *data, size_t size) { return put(fd, &(struct iovec){(void *)data, size}, 1, -1, 0); }
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) { return put(fd, &(struct iovec){(void *)data, size}, 1, at, 0); }
ssize_t pwrite64(int fd, const void *data, size_t size, off_t at) ALIAS(pwrite);
ssize_t writev(int fd, const struct iovec *parts, int count) { return put(fd, parts, count, -1, 0); }
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at) { return put(fd, parts, count, at, 0); }
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off_t at) ALIAS(pwritev);
ssize_t pwritev2(int fd, const struct iovec *parts, int count, off_t at, int flags) { return put(fd, parts, count, at, flags); }
ssize_t pwritev64v2(int fd, const struct iovec *parts, int count, off_t at, int flags) ALIAS(pwritev2);

/* Copies within the kernel: what arrived is read back for the log. `at` is where it began. */
static void note_copied(int fd, const char *name, off_t at, ssize_t done) {
    char link[32], *data = done > 0 && log_file >= 0 ? malloc(done) : NULL;
    if (!data) return;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd); /* the descriptor itself may be for writing only */
    int again = syscall(SYS_openat, AT_FDCWD, link, O_RDONLY | O_CLOEXEC);
    if (again >= 0 && syscall(SYS_pread64, again, data, done, at) == done)
        note(WRITE, below_root(name), NULL, inode_of(fd), at, data, done, 0, 0);
    else note(UNMODELLED, "a copy that cannot be read back", below_root(name), 0, 0, NULL, 0, 0, 0);
    if (again >= 0) syscall(SYS_close, again);
    free(data);
}

ssize_t sendfile(int out, int in, off_t *from, size_t size) {
    char name[LONGEST];
    if (!of_descriptor(out, name)) return syscall(SYS_sendfile, out, in, from, size);
    lock();
    FAIL_IF_DUE(TAKES_ROOM | MAY_WAIT | (size > 1 ? CAN_BE_SHORT : 0));
    ssize_t done = syscall(SYS_sendfile, out, in, from, half ? size / 2 : size);
    note_copied(out, name, lseek(out, 0, SEEK_CUR) - done, done);
    if (half && armed.kind == KILL_HALF) die();
    unlock();
    return done;
}
ssize_t sendfile64(int out, int in, off_t *from, size_t size) ALIAS(sendfile);

ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t size, unsigned flags) {
    char name[LONGEST];
    if (!of_descriptor(out, name)) return syscall(SYS_copy_file_range, in, from, out, to, size, flags);
    lock();
    FAIL_IF_DUE(TAKES_ROOM | MAY_WAIT | (size > 1 ? CAN_BE_SHORT : 0));
    ssize_t done = syscall(SYS_copy_file_range, in, from, out, to, half ? size / 2 : size, flags);
    note_copied(out, name, (to ? *to : lseek(out, 0, SEEK_CUR)) - done, done);
    if (half && armed.kind == KILL_HALF) die();
    unlock();
    return done;
}

/* ---- sizes ---- */

int ftruncate(int fd, off_t size) {
    char name[LONGEST];
    if (!of_descriptor(fd, name)) return syscall(SYS_ftruncate, fd, size);
    lock();
    FAIL_IF_DUE(TAKES_ROOM | MAY_WAIT);
    int done = syscall(SYS_ftruncate, fd, size);
    if (!done) note(RESIZE, below_root(name), NULL, inode_of(fd), 0, NULL, size, 0, 0);
    unlock();
    return done;
}
int ftruncate64(int fd, off_t size) ALIAS(ftruncate);

int truncate(const char *path, off_t size) {
    int fd = open_at(AT_FDCWD, path, O_WRONLY | O_CLOEXEC, 0);
    if (fd < 0) return -1;
    int done = ftruncate(fd, size), kept = errno;
    syscall(SYS_close, fd);
    errno = kept;
    return done;
}
int truncate64(const char *path, off_t size) ALIAS(truncate);

int fallocate(int fd, int mode, off_t at, off_t size) {
    char name[LONGEST];
    struct stat s = {0};
    if (!of_descriptor(fd, name)) return syscall(SYS_fallocate, fd, mode, at, size);
    lock();
    FAIL_IF_DUE(TAKES_ROOM | MAY_WAIT);
    int done = syscall(SYS_fallocate, fd, mode, at, size);
    if (!done && mode & ~FALLOC_FL_KEEP_SIZE) note(UNMODELLED, "fallocate", below_root(name), 0, 0, NULL, 0, 0, 0);
    else if (!done && !mode && !fstat(fd, &s)) note(RESIZE, below_root(name), NULL, s.st_ino, 0, NULL, s.st_size, 0, 0);
    unlock();
    return done;
}
int fallocate64(int fd, int mode, off_t at, off_t size) ALIAS(fallocate);
int posix_fallocate(int fd, off_t at, off_t size) { return fallocate(fd, 0, at, size) ? errno : 0; }
int posix_fallocate64(int fd, off_t at, off_t size) ALIAS(posix_fallocate);

void *mmap(void *where, size_t size, int protection, int flags, int fd, off_t at) {
    char name[LONGEST];
    if (fd >= 0 && protection & PROT_WRITE && flags & MAP_SHARED && of_descriptor(fd, name)) {
        lock();
        note(UNMODELLED, "a shared mapping for writing", below_root(name), 0, 0, NULL, 0, 0, 0);
        unlock();
    }
    return (void *)syscall(SYS_mmap, where, size, protection, flags, fd, at);
}
void *mmap64(void *where, size_t size, int protection, int flags, int fd, off_t at) ALIAS(mmap);

/* ---- syncing ---- */

static int sync_with(long number, int fd) {
    char name[LONGEST];
    if (!of_descriptor(fd, name)) return syscall(number, fd);
    lock();
    int half = 0, error = due(TAKES_ROOM | MAY_WAIT, &half);
    int done = error ? -1 : (int)syscall(number, fd);
    if (!error && done) error = errno;
    note(SYNC, below_root(name), NULL, inode_of(fd), 0, NULL, 0, 0, error); /* one that failed is told too */
    unlock();
    if (error) errno = error;
    return done;
}
int fsync(int fd) { return sync_with(SYS_fsync, fd); }
int fdatasync(int fd) { return sync_with(SYS_fdatasync, fd); }

int syncfs(int fd) {
    char name[LONGEST];
    int watched = of_descriptor(fd, name);
    lock();
    int done = syscall(SYS_syncfs, fd);
    if (watched && !done) note(SYNC_ALL, NULL, NULL, 0, 0, NULL, 0, 0, 0);
    unlock();
    return done;
}
void sync(void) {
    lock();
    syscall(SYS_sync);
    note(SYNC_ALL, NULL, NULL, 0, 0, NULL, 0, 0, 0);
    unlock();
}
/* sync_file_range and msync promise nothing after a loss of power, and so are not watched. */

/* ---- names of files ---- */

int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags) {
    char old[LONGEST], new[LONGEST];
    int out = of_path(from_dir, from, old), in = of_path(to_dir, to, new);
    if (!out && !in) return syscall(SYS_renameat2, from_dir, from, to_dir, to, flags);
    lock();
    FAIL_IF_DUE(TAKES_ROOM);
    int done = syscall(SYS_renameat2, from_dir, from, to_dir, to, flags);
    if (!done && out && in && !(flags & ~RENAME_NOREPLACE)) note(RENAME, below_root(old), below_root(new), 0, 0, NULL, 0, 0, 0);
    else if (!done) note(UNMODELLED, "a rename into or out of the folder, or an exchange", from, 0, 0, NULL, 0, 0, 0);
    unlock();
    return done;
}
int renameat(int from_dir, const char *from, int to_dir, const char *to) { return renameat2(from_dir, from, to_dir, to, 0); }
int rename(const char *from, const char *to) { return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0); }

int unlinkat(int dir, const char *path, int flags) {
    char name[LONGEST];
    if (!of_path(dir, path, name)) return syscall(SYS_unlinkat, dir, path, flags);
    lock();
    FAIL_IF_DUE(0);
    int done = syscall(SYS_unlinkat, dir, path, flags);
    if (!done) note(flags & AT_REMOVEDIR ? RMDIR : UNLINK, below_root(name), NULL, 0, 0, NULL, 0, 0, 0);
    unlock();
    return done;
}
int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }

int linkat(int from_dir, const char *from, int to_dir, const char *to, int flags) {
    char old[LONGEST], new[LONGEST];
    int known = of_path(from_dir, from, old);
    if (!of_path(to_dir, to, new)) return syscall(SYS_linkat, from_dir, from, to_dir, to, flags);
    lock();
    FAIL_IF_DUE(TAKES_ROOM);
    int done = syscall(SYS_linkat, from_dir, from, to_dir, to, flags);
    if (!done && known) note(LINK, below_root(old), below_root(new), 0, 0, NULL, 0, 0, 0);
    else if (!done) note(UNMODELLED, "a link to a file elsewhere", below_root(new), 0, 0, NULL, 0, 0, 0);
    unlock();
    return done;
}
int link(const char *from, const char *to) { return linkat(AT_FDCWD, from, AT_FDCWD, to, 0); }

int symlinkat(const char *text, int dir, const char *path) {
    char name[LONGEST];
    if (!of_path(dir, path, name)) return syscall(SYS_symlinkat, text, dir, path);
    lock();
    note(UNMODELLED, "a symbolic link", below_root(name), 0, 0, NULL, 0, 0, 0);
    int done = syscall(SYS_symlinkat, text, dir, path);
    unlock();
    return done;
}
int symlink(const char *text, const char *path) { return symlinkat(text, AT_FDCWD, path); }

int mkdirat(int dir, const char *path, mode_t mode) {
    char name[LONGEST];
    struct stat s = {0};
    if (!of_path(dir, path, name)) return syscall(SYS_mkdirat, dir, path, mode);
    lock();
    FAIL_IF_DUE(TAKES_ROOM);
    int done = syscall(SYS_mkdirat, dir, path, mode);
    if (!done && !stat(name, &s)) note(MKDIR, below_root(name), NULL, s.st_ino, 0, NULL, 0, 0, 0);
    unlock();
    return done;
}
int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }

/* ---- reading: only counted, and made to fail ---- */

static int unreadable(int fd) {
    char name[LONGEST];
    int half = 0;
    if (armed.kind != UNREADABLE || !of_descriptor(fd, name)) return 0;
    lock();
    int error = due(READS | MAY_WAIT, &half);
    unlock();
    if (error) errno = error;
    return error;
}

ssize_t read(int fd, void *data, size_t size) { return unreadable(fd) ? -1 : syscall(SYS_read, fd, data, size); }
ssize_t pread(int fd, void *data, size_t size, off_t at) { return unreadable(fd) ? -1 : syscall(SYS_pread64, fd, data, size, at); }
ssize_t pread64(int fd, void *data, size_t size, off_t at) ALIAS(pread);
ssize_t readv(int fd, const struct iovec *parts, int count) { return unreadable(fd) ? -1 : syscall(SYS_readv, fd, parts, count); }
ssize_t preadv2(int fd, const struct iovec *parts, int count, off_t at, int flags) {
    return unreadable(fd) ? -1 : syscall(SYS_preadv2, fd, parts, count, at, at < 0 ? -1L : 0L, flags);
}
ssize_t preadv64v2(int fd, const struct iovec *parts, int count, off_t at, int flags) ALIAS(preadv2);
ssize_t preadv(int fd, const struct iovec *parts, int count, off_t at) { return preadv2(fd, parts, count, at, 0); }
ssize_t preadv64(int fd, const struct iovec *parts, int count, off_t at) ALIAS(preadv);
ssize_t __read_chk(int fd, void *data, size_t size, size_t room) { return size > room ? (abort(), -1) : read(fd, data, size); }
ssize_t __pread_chk(int fd, void *data, size_t size, off_t at, size_t room) { return size > room ? (abort(), -1) : pread(fd, data, size, at); }
ssize_t __pread64_chk(int fd, void *data, size_t size, off_t at, size_t room) ALIAS(__pread_chk);
