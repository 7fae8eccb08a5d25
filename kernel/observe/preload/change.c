/* Changing what lies at a path. */
#include "observe.h"
#include "names.h"
#include <stdio.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/xattr.h>
#include <utime.h>

#define HERE AT_FDCWD
#define DONE(o, dir, call) \
	int rc = call; \
	note(o, rc < 0, 0, dir, path); \
	return rc;
#define DONE2(o, fl, d1, p1, d2, p2, call) \
	int rc = call; \
	note2(o, rc < 0 ? errno : 0, fl, d1, p1, d2, p2); \
	return rc;
#define DONE_FD(o, call) \
	int rc = call; \
	note_fd(o, rc != 0, 0, fd); \
	return rc;

EXPORT int mkdir(const char *path, mode_t m) { DONE(MKDIR, HERE, REAL(mkdir)(path, m)) }
EXPORT int mkdirat(int d, const char *path, mode_t m) { DONE(MKDIR, d, REAL(mkdirat)(d, path, m)) }
EXPORT int mknod(const char *path, mode_t m, dev_t v) { DONE(MKDIR, HERE, REAL(mknod)(path, m, v)) }
EXPORT int mknodat(int d, const char *path, mode_t m, dev_t v) { DONE(MKDIR, d, REAL(mknodat)(d, path, m, v)) }
EXPORT int __xmknod(int v, const char *path, mode_t m, dev_t *dev) { (void)v; DONE(MKDIR, HERE, REAL(mknod)(path, m, *dev)) }
EXPORT int __xmknodat(int v, int d, const char *path, mode_t m, dev_t *dev) { (void)v; DONE(MKDIR, d, REAL(mknodat)(d, path, m, *dev)) }
EXPORT int mkfifo(const char *path, mode_t m) { DONE(MKDIR, HERE, REAL(mkfifo)(path, m)) }
EXPORT int mkfifoat(int d, const char *path, mode_t m) { DONE(MKDIR, d, REAL(mkfifoat)(d, path, m)) }
EXPORT int unlink(const char *path) { DONE(UNLINK, HERE, REAL(unlink)(path)) }
EXPORT int unlinkat(int d, const char *path, int fl) { DONE(fl & AT_REMOVEDIR ? RMDIR : UNLINK, d, REAL(unlinkat)(d, path, fl)) }
EXPORT int rmdir(const char *path) { DONE(RMDIR, HERE, REAL(rmdir)(path)) }
EXPORT int remove(const char *path) { DONE(UNLINK, HERE, REAL(remove)(path)) }
EXPORT int rename(const char *a, const char *b) { DONE2(RENAME, 0, HERE, a, HERE, b, REAL(rename)(a, b)) }
EXPORT int renameat(int d, const char *a, int e, const char *b) { DONE2(RENAME, 0, d, a, e, b, REAL(renameat)(d, a, e, b)) }
EXPORT int renameat2(int d, const char *a, int e, const char *b, unsigned fl) { DONE2(RENAME, fl, d, a, e, b, REAL(renameat2)(d, a, e, b, fl)) }
EXPORT int link(const char *a, const char *b) { DONE2(LINK, 0, HERE, a, HERE, b, REAL(link)(a, b)) }
EXPORT int linkat(int d, const char *a, int e, const char *b, int fl) { DONE2(LINK, 0, d, a, e, b, REAL(linkat)(d, a, e, b, fl)) }
EXPORT int symlink(const char *to, const char *path) { DONE(SYMLINK, HERE, REAL(symlink)(to, path)) }
EXPORT int symlinkat(const char *to, int d, const char *path) { DONE(SYMLINK, d, REAL(symlinkat)(to, d, path)) }
EXPORT int truncate(const char *path, off_t n) { DONE(TRUNCATE, HERE, REAL(truncate)(path, n)) }
EXPORT int truncate64(const char *path, off64_t n) { DONE(TRUNCATE, HERE, REAL(truncate64)(path, n)) }
EXPORT int ftruncate(int fd, off_t n) { DONE_FD(TRUNCATE, REAL(ftruncate)(fd, n)) }
EXPORT int ftruncate64(int fd, off64_t n) { DONE_FD(TRUNCATE, REAL(ftruncate64)(fd, n)) }
EXPORT int fallocate(int fd, int m, off_t at, off_t n) { DONE_FD(TRUNCATE, REAL(fallocate)(fd, m, at, n)) }
EXPORT int fallocate64(int fd, int m, off64_t at, off64_t n) { DONE_FD(TRUNCATE, REAL(fallocate64)(fd, m, at, n)) }
EXPORT int posix_fallocate(int fd, off_t at, off_t n) { DONE_FD(TRUNCATE, REAL(posix_fallocate)(fd, at, n)) }
EXPORT int posix_fallocate64(int fd, off64_t at, off64_t n) { DONE_FD(TRUNCATE, REAL(posix_fallocate64)(fd, at, n)) }
EXPORT int chmod(const char *path, mode_t m) { DONE(CHMOD, HERE, REAL(chmod)(path, m)) }
EXPORT int lchmod(const char *path, mode_t m) { DONE(CHMOD, HERE, REAL(lchmod)(path, m)) }
EXPORT int fchmod(int fd, mode_t m) { DONE_FD(CHMOD, REAL(fchmod)(fd, m)) }
EXPORT int fchmodat(int d, const char *path, mode_t m, int fl) { DONE(CHMOD, d, REAL(fchmodat)(d, path, m, fl)) }
EXPORT int chown(const char *path, uid_t u, gid_t g) { DONE(CHMOD, HERE, REAL(chown)(path, u, g)) }
EXPORT int lchown(const char *path, uid_t u, gid_t g) { DONE(CHMOD, HERE, REAL(lchown)(path, u, g)) }
EXPORT int fchown(int fd, uid_t u, gid_t g) { DONE_FD(CHMOD, REAL(fchown)(fd, u, g)) }
EXPORT int fchownat(int d, const char *path, uid_t u, gid_t g, int fl) { DONE(CHMOD, d, REAL(fchownat)(d, path, u, g, fl)) }
EXPORT int utime(const char *path, const struct utimbuf *t) { DONE(UTIME, HERE, REAL(utime)(path, t)) }
EXPORT int utimes(const char *path, const struct timeval t[2]) { DONE(UTIME, HERE, REAL(utimes)(path, t)) }
EXPORT int lutimes(const char *path, const struct timeval t[2]) { DONE(UTIME, HERE, REAL(lutimes)(path, t)) }
EXPORT int futimes(int fd, const struct timeval t[2]) { DONE_FD(UTIME, REAL(futimes)(fd, t)) }
EXPORT int futimens(int fd, const struct timespec t[2]) { DONE_FD(UTIME, REAL(futimens)(fd, t)) }
EXPORT int setxattr(const char *path, const char *k, const void *v, size_t n, int fl) { DONE(CHMOD, HERE, REAL(setxattr)(path, k, v, n, fl)) }
EXPORT int lsetxattr(const char *path, const char *k, const void *v, size_t n, int fl) { DONE(CHMOD, HERE, REAL(lsetxattr)(path, k, v, n, fl)) }
EXPORT int fsetxattr(int fd, const char *k, const void *v, size_t n, int fl) { DONE_FD(CHMOD, REAL(fsetxattr)(fd, k, v, n, fl)) }
EXPORT int removexattr(const char *path, const char *k) { DONE(CHMOD, HERE, REAL(removexattr)(path, k)) }
EXPORT int lremovexattr(const char *path, const char *k) { DONE(CHMOD, HERE, REAL(lremovexattr)(path, k)) }
EXPORT int fremovexattr(int fd, const char *k) { DONE_FD(CHMOD, REAL(fremovexattr)(fd, k)) }

/* Without a path, these two are about the descriptor. */
EXPORT int futimesat(int d, const char *path, const struct timeval t[2])
{
	int rc = REAL(futimesat)(d, path, t);
	if (path)
		note(UTIME, rc < 0, 0, d, path);
	else
		note_fd(UTIME, rc < 0, 0, d);
	return rc;
}
EXPORT int utimensat(int d, const char *path, const struct timespec t[2], int fl)
{
	int rc = REAL(utimensat)(d, path, t, fl);
	if (path)
		note(UTIME, rc < 0, 0, d, path);
	else
		note_fd(UTIME, rc < 0, 0, d);
	return rc;
}
