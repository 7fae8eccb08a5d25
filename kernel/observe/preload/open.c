/* Opening, mapping, and the temporary files that libc names. */
#include "observe.h"
#include "names.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#define MODE(last) \
	mode_t mode = 0; \
	if ((flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE) { \
		va_list ap; \
		va_start(ap, last); \
		mode = va_arg(ap, mode_t); \
		va_end(ap); \
	}
#define OPENED(dir, call) \
	uint32_t was = existed(dir, path, flags); \
	int fd = call; \
	note_open(fd, (uint32_t)flags | was, dir, path); \
	return fd;

EXPORT int open(const char *path, int flags, ...) { MODE(flags) OPENED(AT_FDCWD, REAL(open)(path, flags, mode)) }
EXPORT int open64(const char *path, int flags, ...) { MODE(flags) OPENED(AT_FDCWD, REAL(open64)(path, flags, mode)) }
EXPORT int __open(const char *path, int flags, ...) { MODE(flags) OPENED(AT_FDCWD, REAL(open)(path, flags, mode)) }
EXPORT int __open64(const char *path, int flags, ...) { MODE(flags) OPENED(AT_FDCWD, REAL(open64)(path, flags, mode)) }
EXPORT int openat(int dir, const char *path, int flags, ...) { MODE(flags) OPENED(dir, REAL(openat)(dir, path, flags, mode)) }
EXPORT int openat64(int dir, const char *path, int flags, ...) { MODE(flags) OPENED(dir, REAL(openat64)(dir, path, flags, mode)) }
EXPORT int __open_2(const char *path, int flags) { OPENED(AT_FDCWD, REAL(open)(path, flags)) }
EXPORT int __open64_2(const char *path, int flags) { OPENED(AT_FDCWD, REAL(open64)(path, flags)) }
EXPORT int __openat_2(int dir, const char *path, int flags) { OPENED(dir, REAL(openat)(dir, path, flags)) }
EXPORT int __openat64_2(int dir, const char *path, int flags) { OPENED(dir, REAL(openat64)(dir, path, flags)) }
#define CREATED(f) \
	int flags = O_WRONLY | O_CREAT | O_TRUNC; \
	OPENED(AT_FDCWD, REAL(f)(path, mode))
EXPORT int creat(const char *path, mode_t mode) { CREATED(creat) }
EXPORT int creat64(const char *path, mode_t mode) { CREATED(creat64) }

static int mode_flags(const char *m)
{
	int plus = strchr(m, '+') != NULL;
	if (m[0] == 'w')
		return (plus ? O_RDWR : O_WRONLY) | O_CREAT | O_TRUNC;
	if (m[0] == 'a')
		return (plus ? O_RDWR : O_WRONLY) | O_CREAT | O_APPEND;
	return plus ? O_RDWR : O_RDONLY;
}
#define FOPENED(call) \
	int flags = mode_flags(m); \
	uint32_t was = existed(AT_FDCWD, path, flags); \
	FILE *f = call; \
	note_open(f ? fileno(f) : -1, (uint32_t)flags | was, AT_FDCWD, path); \
	return f;
EXPORT FILE *fopen(const char *path, const char *m) { FOPENED(REAL(fopen)(path, m)) }
EXPORT FILE *fopen64(const char *path, const char *m) { FOPENED(REAL(fopen64)(path, m)) }
EXPORT FILE *_IO_fopen(const char *path, const char *m) { FOPENED(REAL(fopen)(path, m)) }
EXPORT FILE *freopen(const char *path, const char *m, FILE *s) { FOPENED(REAL(freopen)(path, m, s)) }
EXPORT FILE *freopen64(const char *path, const char *m, FILE *s) { FOPENED(REAL(freopen64)(path, m, s)) }

#define TEMP(f, args, ...) \
	EXPORT int f args \
	{ \
		int fd = REAL(f)(__VA_ARGS__); \
		note_open(fd, O_RDWR | O_CREAT | O_EXCL, AT_FDCWD, t); \
		return fd; \
	}
TEMP(mkstemp, (char *t), t)
TEMP(mkstemp64, (char *t), t)
TEMP(mkostemp, (char *t, int fl), t, fl)
TEMP(mkostemp64, (char *t, int fl), t, fl)
TEMP(mkstemps, (char *t, int n), t, n)
TEMP(mkstemps64, (char *t, int n), t, n)
TEMP(mkostemps, (char *t, int n, int fl), t, n, fl)
TEMP(mkostemps64, (char *t, int n, int fl), t, n, fl)
EXPORT char *mkdtemp(char *t)
{
	char *r = REAL(mkdtemp)(t);
	note(MKDIR, !r, 0, AT_FDCWD, t);
	return r;
}

/* Shared memory with a name is a file in /dev/shm; its name is too long for no one. */
static const char *shm_path(const char *name, char *buf)
{
	size_t n = strlen(name += name[0] == '/');
	if (n > NAME_MAX)
		return NULL;
	memcpy(buf, "/dev/shm/", 9);
	memcpy(buf + 9, name, n + 1);
	return buf;
}
EXPORT int shm_open(const char *name, int flags, mode_t mode)
{
	char buf[NAME_MAX + 16];
	const char *path = shm_path(name, buf);
	OPENED(AT_FDCWD, REAL(shm_open)(name, flags, mode))
}
EXPORT int shm_unlink(const char *name)
{
	char buf[NAME_MAX + 16];
	int rc = REAL(shm_unlink)(name);
	note(UNLINK, rc < 0, 0, AT_FDCWD, shm_path(name, buf));
	return rc;
}

/* A map that writes to its file. The descriptor may be older than the cell;
 * mprotect can only raise what was opened for writing, and mremap what is mapped. */
#define MAPPED(f, off_type) \
	EXPORT void *f(void *at, size_t n, int prot, int flags, int fd, off_type o) \
	{ \
		void *p = REAL(f)(at, n, prot, flags, fd, o); \
		if (fd >= 0 && (flags & MAP_TYPE) != MAP_PRIVATE && (prot & PROT_WRITE)) \
			note_fd(OPEN, p == MAP_FAILED, O_RDWR, fd); \
		return p; \
	}
MAPPED(mmap, off_t)
MAPPED(mmap64, off64_t)

/* A handle names a file without a path. */
EXPORT int open_by_handle_at(int fd, struct file_handle *h, int flags)
{
	lost();
	return REAL(open_by_handle_at)(fd, h, flags);
}
