/* The library that a kernel carries: it records which paths the process tree
 * touches, with the outcome, in a ring shared with kedge (ring.go has the other
 * side of the layout). On recorded paths: no allocation, no locks, errno kept,
 * and only system calls of our own, so that signal handlers and the children
 * of vfork may come through. */
#ifndef KEDGE_OBSERVE_H
#define KEDGE_OBSERVE_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

/* Operations; ring.go names them in the same order. */
enum op { PAD, HELLO, OPEN, STAT, ACCESS, LIST, READLINK, MKDIR, RENAME, UNLINK, RMDIR, LINK, SYMLINK,
	TRUNCATE, CHMOD, UTIME, CONNECT, BIND, ACCEPT, EXEC, GETENV, SETENV, ESCAPE, FORK, FACT };

/* Bits of a record's flags beside those of open. */
#define EXISTED 0x80000000u /* OPEN: the file was there before O_CREAT */
#define SPECIAL 0x40000000u /* OPEN: neither a regular file nor a folder */
#define SUBTREE 0x20000000u /* LIST: everything below, too */
#define CHAIN 0x10000000u   /* READLINK: every link on the way */

/* Flags of an EXEC: why the program cannot be observed, 0 if it can. */
enum blocked { SEEN, STATIC, GOLANG, MUSL, FOREIGN, SETUID, SANITIZER };

/* What lay at a path when it was opened. */
struct ident {
	uint64_t ino;
	int64_t size, mtime; /* bytes; nanoseconds */
};

extern __thread int off __attribute__((tls_model("initial-exec")));

long raw(long n, long a, long b, long c, long d, long e, long f); /* -errno on failure */
#define RAW(n, ...) RAW_(n, ##__VA_ARGS__, 0, 0, 0, 0, 0, 0)
#define RAW_(n, a, b, c, d, e, f, ...) raw(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

int watching(void);
void lost(void); /* says that something was not recorded */
void note(enum op op, int failed, uint32_t flags, int dir, const char *path);
void note2(enum op op, int err, uint32_t flags, int dir, const char *path, int dir2, const char *path2);
void note_fd(enum op op, int failed, uint32_t flags, int fd);
void note_open(int fd, uint32_t flags, int dir, const char *path); /* fd < 0: failed with errno */
void note_exec(int err, uint32_t why, int32_t child, int dir, const char *path);
void note_text(enum op op, int err, const char *prefix, const char *text, size_t n);
uint32_t existed(int dir, const char *path, int flags);
int starts(const char *s, const char *with);

void *get(int f); /* the function behind ours; errno kept */
void ring_open(const char *path);
void take_environment(char **envp);

#endif
