/* What makes paths mean something else, and system calls made by number. */
#include "observe.h"
#include "names.h"
#include <linux/openat2.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/utsname.h>

static void escaped(const char *how, long rc)
{
	if (rc >= 0)
		note_text(ESCAPE, 0, "", how, strlen(how));
}
#define ESCAPES(f, args, ...) \
	EXPORT int f args \
	{ \
		int rc = ((int(*) args)get(F_##f))(__VA_ARGS__); \
		escaped(#f, rc); \
		return rc; \
	}
ESCAPES(mount, (const char *a, const char *b, const char *t, unsigned long fl, const void *d), a, b, t, fl, d)
ESCAPES(umount2, (const char *a, int fl), a, fl)
ESCAPES(chroot, (const char *a), a)
ESCAPES(pivot_root, (const char *a, const char *b), a, b)
ESCAPES(unshare, (int fl), fl)
ESCAPES(setns, (int fd, int t), fd, t)
ESCAPES(open_tree, (int d, const char *p, unsigned fl), d, p, fl)
ESCAPES(fsopen, (const char *n, unsigned fl), n, fl)
ESCAPES(move_mount, (int d, const char *a, int e, const char *b, unsigned fl), d, a, e, b, fl)

/* by_number makes a call through the function that has its name, if that one
 * is recorded; *done says so. Numbers that old programs alone use are not in
 * every architecture. */
static long by_number(long n, const long a[6], int *done)
{
	const char *p = (const char *)a[0], *q = (const char *)a[1];
	*done = 1;
	switch (n) {
#ifdef SYS_open
	case SYS_open: return open(p, (int)a[1], (mode_t)a[2]);
	case SYS_stat: return stat(p, (struct stat *)a[1]);
	case SYS_lstat: return lstat(p, (struct stat *)a[1]);
	case SYS_access: return access(p, (int)a[1]);
	case SYS_unlink: return unlink(p);
	case SYS_rename: return rename(p, q);
	case SYS_mkdir: return mkdir(p, (mode_t)a[1]);
	case SYS_rmdir: return rmdir(p);
	case SYS_readlink: return readlink(p, (char *)a[1], (size_t)a[2]);
#endif
	case SYS_openat: return openat((int)a[0], q, (int)a[2], (mode_t)a[3]);
	case SYS_newfstatat: return fstatat((int)a[0], q, (struct stat *)a[2], (int)a[3]);
	case SYS_statx: return statx((int)a[0], q, (int)a[2], (unsigned)a[3], (struct statx *)a[4]);
	case SYS_faccessat: return faccessat((int)a[0], q, (int)a[2], 0);
	case SYS_faccessat2: return faccessat((int)a[0], q, (int)a[2], (int)a[3]);
	case SYS_unlinkat: return unlinkat((int)a[0], q, (int)a[2]);
	case SYS_mkdirat: return mkdirat((int)a[0], q, (mode_t)a[2]);
	case SYS_readlinkat: return readlinkat((int)a[0], q, (char *)a[2], (size_t)a[3]);
	case SYS_renameat2: return renameat2((int)a[0], q, (int)a[2], (const char *)a[3], (unsigned)a[4]);
	case SYS_execve: return execve(p, (char *const *)a[1], (char *const *)a[2]);
	case SYS_connect: return connect((int)a[0], (const struct sockaddr *)a[1], (socklen_t)a[2]);
	case SYS_uname: return uname((struct utsname *)a[0]);
	case SYS_getuid: return getuid();
	case SYS_geteuid: return geteuid();
	case SYS_getgid: return getgid();
	case SYS_getegid: return getegid();
	}
	*done = 0;
	return 0;
}

EXPORT long syscall(long n, ...)
{
	long a[6];
	int done;
	va_list ap;
	va_start(ap, n);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	long rc = by_number(n, a, &done);
	if (done)
		return rc;
	rc = REAL(syscall)(n, a[0], a[1], a[2], a[3], a[4], a[5]);
	switch (n) {
	case SYS_openat2:
		note_open((int)rc, (uint32_t)((struct open_how *)a[2])->flags, (int)a[0], (const char *)a[1]);
		break;
	case SYS_getdents64:
		note_fd(LIST, rc < 0, 0, (int)a[0]);
		break;
	case SYS_io_uring_setup:
		escaped("io_uring", rc);
		break;
	case SYS_execveat:
	case SYS_open_by_handle_at:
		lost();
		break;
	case SYS_mount:
	case SYS_umount2:
	case SYS_chroot:
	case SYS_pivot_root:
	case SYS_unshare:
	case SYS_setns:
		escaped("a namespace by number", rc);
		break;
	}
	return rc;
}
