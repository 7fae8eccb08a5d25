/* Looking at paths: what is there, of which kind, what a folder holds. */
#include "observe.h"
#include "names.h"
#include <dirent.h>
#include <ftw.h>
#include <fts.h>
#include <glob.h>
#include <stdlib.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>

/* An empty path is a question about the descriptor, not about a name. */
#define LOOKED(o, dir, call) \
	int rc = call; \
	if (path && (rc < 0 && errno == EFAULT ? 0 : path[0])) \
		note(o, rc < 0, 0, dir, path); \
	return rc;
#define HERE AT_FDCWD
#define LINK_ITSELF AT_SYMLINK_NOFOLLOW

EXPORT int stat(const char *path, struct stat *b) { LOOKED(STAT, HERE, REAL(fstatat)(HERE, path, b, 0)) }
EXPORT int lstat(const char *path, struct stat *b) { LOOKED(STAT, HERE, REAL(fstatat)(HERE, path, b, LINK_ITSELF)) }
EXPORT int fstatat(int d, const char *path, struct stat *b, int fl) { LOOKED(STAT, d, REAL(fstatat)(d, path, b, fl)) }
EXPORT int stat64(const char *path, struct stat64 *b) { LOOKED(STAT, HERE, REAL(fstatat64)(HERE, path, b, 0)) }
EXPORT int lstat64(const char *path, struct stat64 *b) { LOOKED(STAT, HERE, REAL(fstatat64)(HERE, path, b, LINK_ITSELF)) }
EXPORT int fstatat64(int d, const char *path, struct stat64 *b, int fl) { LOOKED(STAT, d, REAL(fstatat64)(d, path, b, fl)) }
EXPORT int statx(int d, const char *path, int fl, unsigned m, struct statx *b) { LOOKED(STAT, d, REAL(statx)(d, path, fl, m, b)) }
EXPORT int access(const char *path, int m) { LOOKED(ACCESS, HERE, REAL(access)(path, m)) }
EXPORT int eaccess(const char *path, int m) { LOOKED(ACCESS, HERE, REAL(eaccess)(path, m)) }
EXPORT int euidaccess(const char *path, int m) { LOOKED(ACCESS, HERE, REAL(euidaccess)(path, m)) }
EXPORT int faccessat(int d, const char *path, int m, int fl) { LOOKED(ACCESS, d, REAL(faccessat)(d, path, m, fl)) }
EXPORT int statfs(const char *path, struct statfs *b) { LOOKED(STAT, HERE, REAL(statfs)(path, b)) }
EXPORT int statfs64(const char *path, struct statfs64 *b) { LOOKED(STAT, HERE, REAL(statfs64)(path, b)) }
EXPORT int statvfs(const char *path, struct statvfs *b) { LOOKED(STAT, HERE, REAL(statvfs)(path, b)) }
EXPORT int statvfs64(const char *path, struct statvfs64 *b) { LOOKED(STAT, HERE, REAL(statvfs64)(path, b)) }
EXPORT int chdir(const char *path) { LOOKED(STAT, HERE, REAL(chdir)(path)) }

/* Programs built against a libc older than 2.33 look this way. */
#if defined(__x86_64__)
#define OLD(f, s, flags) \
	EXPORT int f(int v, const char *path, struct s *b) { (void)v; LOOKED(STAT, HERE, REAL(fstatat64)(HERE, path, (struct stat64 *)b, flags)) }
#define OLD_AT(f, s) \
	EXPORT int f(int v, int d, const char *path, struct s *b, int fl) { (void)v; LOOKED(STAT, d, REAL(fstatat64)(d, path, (struct stat64 *)b, fl)) }
#else
#define OLD(f, s, flags) \
	EXPORT int f(int v, const char *path, struct s *b) { (void)v; LOOKED(STAT, HERE, REAL(fstatat)(HERE, path, (struct stat *)b, flags)) }
#define OLD_AT(f, s) \
	EXPORT int f(int v, int d, const char *path, struct s *b, int fl) { (void)v; LOOKED(STAT, d, REAL(fstatat)(d, path, (struct stat *)b, fl)) }
#endif
OLD(__xstat, stat, 0)
OLD(__lxstat, stat, LINK_ITSELF)
OLD_AT(__fxstatat, stat)
OLD(__xstat64, stat64, 0)
OLD(__lxstat64, stat64, LINK_ITSELF)
OLD_AT(__fxstatat64, stat64)

EXPORT ssize_t getxattr(const char *path, const char *k, void *v, size_t n) { LOOKED(STAT, HERE, (int)REAL(getxattr)(path, k, v, n)) }
EXPORT ssize_t lgetxattr(const char *path, const char *k, void *v, size_t n) { LOOKED(STAT, HERE, (int)REAL(lgetxattr)(path, k, v, n)) }
EXPORT ssize_t listxattr(const char *path, char *v, size_t n) { LOOKED(STAT, HERE, (int)REAL(listxattr)(path, v, n)) }
EXPORT ssize_t llistxattr(const char *path, char *v, size_t n) { LOOKED(STAT, HERE, (int)REAL(llistxattr)(path, v, n)) }
EXPORT int inotify_add_watch(int fd, const char *path, uint32_t m) { LOOKED(STAT, HERE, REAL(inotify_add_watch)(fd, path, m)) }
EXPORT int fanotify_mark(int fd, unsigned fl, uint64_t m, int d, const char *path) { LOOKED(STAT, d, REAL(fanotify_mark)(fd, fl, m, d, path)) }
EXPORT int name_to_handle_at(int d, const char *path, struct file_handle *h, int *m, int fl)
{
	LOOKED(STAT, d, REAL(name_to_handle_at)(d, path, h, m, fl))
}

#define LOOKED_FD(o, call) \
	__typeof__(call) rc = call; \
	note_fd(o, rc < 0, 0, fd); \
	return rc;
EXPORT int fchdir(int fd) { LOOKED_FD(STAT, REAL(fchdir)(fd)) }
EXPORT ssize_t fgetxattr(int fd, const char *k, void *v, size_t n) { LOOKED_FD(STAT, REAL(fgetxattr)(fd, k, v, n)) }
EXPORT ssize_t flistxattr(int fd, char *v, size_t n) { LOOKED_FD(STAT, REAL(flistxattr)(fd, v, n)) }
EXPORT ssize_t getdents64(int fd, void *b, size_t n) { LOOKED_FD(LIST, REAL(getdents64)(fd, b, n)) }
EXPORT ssize_t getdirentries(int fd, char *b, size_t n, off_t *o) { LOOKED_FD(LIST, REAL(getdirentries)(fd, b, n, o)) }
EXPORT ssize_t getdirentries64(int fd, char *b, size_t n, off64_t *o) { LOOKED_FD(LIST, REAL(getdirentries64)(fd, b, n, o)) }

/* ---- folders ---- */

EXPORT DIR *opendir(const char *path)
{
	DIR *d = REAL(opendir)(path);
	note(LIST, !d, 0, HERE, path);
	return d;
}
EXPORT DIR *fdopendir(int fd)
{
	DIR *d = REAL(fdopendir)(fd);
	note_fd(LIST, !d, 0, fd);
	return d;
}
#define SCANDIR(f, e) \
	EXPORT int f(const char *path, struct e ***out, int (*keep)(const struct e *), int (*cmp)(const struct e **, const struct e **)) \
	{ \
		LOOKED(LIST, HERE, REAL(f)(path, out, keep, cmp)) \
	}
#define SCANDIRAT(f, e) \
	EXPORT int f(int d, const char *path, struct e ***out, int (*keep)(const struct e *), int (*cmp)(const struct e **, const struct e **)) \
	{ \
		LOOKED(LIST, d, REAL(f)(d, path, out, keep, cmp)) \
	}
SCANDIR(scandir, dirent)
SCANDIR(scandir64, dirent64)
SCANDIRAT(scandirat, dirent)
SCANDIRAT(scandirat64, dirent64)

/* glob looks through functions of ours, so that each folder is recorded. */
#define GLOB(f, t, s) \
	EXPORT int f(const char *pattern, int flags, int (*err)(const char *, int), t *g) \
	{ \
		if (!(flags & GLOB_ALTDIRFUNC)) { \
			*(void **)&g->gl_opendir = (void *)opendir; \
			*(void **)&g->gl_readdir = (void *)readdir64; \
			*(void **)&g->gl_closedir = (void *)closedir; \
			*(void **)&g->gl_stat = (void *)stat64; \
			*(void **)&g->gl_lstat = (void *)lstat64; \
		} \
		return REAL(f)(pattern, flags | GLOB_ALTDIRFUNC, err, g); \
	}
GLOB(glob, glob_t, stat)
GLOB(glob64, glob64_t, stat64)

/* Walks inside libc are recorded as a whole: kedge looks below the folder itself. */
#define WALKED(call) \
	note2(LIST, RAW(SYS_faccessat, HERE, path, F_OK) < 0 ? ENOENT : 0, SUBTREE, HERE, path, HERE, NULL); \
	return call;
EXPORT int ftw(const char *path, __ftw_func_t fn, int n) { WALKED(REAL(ftw)(path, fn, n)) }
EXPORT int ftw64(const char *path, __ftw64_func_t fn, int n) { WALKED(REAL(ftw64)(path, fn, n)) }
EXPORT int nftw(const char *path, __nftw_func_t fn, int n, int fl) { WALKED(REAL(nftw)(path, fn, n, fl)) }
EXPORT int nftw64(const char *path, __nftw64_func_t fn, int n, int fl) { WALKED(REAL(nftw64)(path, fn, n, fl)) }
#define FTS(f, t, e) \
	EXPORT t *f(char *const *paths, int fl, int (*cmp)(const e **, const e **)) \
	{ \
		for (char *const *p = paths; *p; p++) \
			note2(LIST, RAW(SYS_faccessat, HERE, *p, F_OK) < 0 ? ENOENT : 0, SUBTREE, HERE, *p, HERE, NULL); \
		return REAL(f)(paths, fl, cmp); \
	}
FTS(fts_open, FTS, FTSENT)
FTS(fts64_open, FTS64, FTSENT64)

/* ---- links ---- */

EXPORT ssize_t readlink(const char *path, char *b, size_t n) { LOOKED(READLINK, HERE, (int)REAL(readlink)(path, b, n)) }
EXPORT ssize_t readlinkat(int d, const char *path, char *b, size_t n) { LOOKED(READLINK, d, (int)REAL(readlinkat)(d, path, b, n)) }
EXPORT ssize_t __readlink_chk(const char *path, char *b, size_t n, size_t room)
{
	if (n > room)
		abort();
	return readlink(path, b, n);
}
EXPORT ssize_t __readlinkat_chk(int d, const char *path, char *b, size_t n, size_t room)
{
	if (n > room)
		abort();
	return readlinkat(d, path, b, n);
}
EXPORT char *realpath(const char *path, char *out)
{
	char *r = REAL(realpath)(path, out);
	note(READLINK, !r, CHAIN, HERE, path);
	return r;
}
EXPORT char *__realpath_chk(const char *path, char *out, size_t n)
{
	if (out && n < PATH_MAX)
		abort();
	return realpath(path, out);
}
EXPORT char *canonicalize_file_name(const char *path) { return realpath(path, NULL); }
