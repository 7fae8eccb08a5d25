/* The library that a kernel carries: it records which paths the process tree
 * touches, with the outcome, in a ring shared with kedge (see ring.go for the
 * layout). On recorded paths: no allocation, no locks, errno kept. */
#define _GNU_SOURCE
#include <alloca.h>
#include <arpa/inet.h>
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utime.h>

#define EXPORT __attribute__((visibility("default")))
#define MAGIC 0x315642534f47444bULL
#define VERSION 1
#define DATA 4096
#define EXISTED 0x80000000u /* in flags: the file was there before O_CREAT */

enum op { PAD, HELLO, OPEN, STAT, ACCESS, LIST, READLINK, MKDIR, RENAME, UNLINK, RMDIR, LINK, SYMLINK,
	TRUNCATE, CHMOD, UTIME, CONNECT, EXEC };

struct header {
	uint64_t magic, version, capacity;
	_Alignas(64) uint64_t head;
	_Alignas(64) uint64_t tail;
	_Alignas(64) uint64_t dropped;
	_Alignas(64) uint64_t cell;
	_Alignas(64) uint64_t epoch; /* moves whenever the dedup cache must be forgotten */
};

struct record {
	uint64_t commit; /* logical offset + 1 once the record is complete */
	uint32_t size, op;
	int32_t err;
	uint32_t flags;
	int32_t pid, tid;
	uint64_t cell;
	uint16_t len1, len2;
	uint32_t reserved;
};

static struct header *ring;
static __thread int off __attribute__((tls_model("initial-exec")));
static uint64_t seen[8192];
static char lib_path[PATH_MAX], ring_entry[PATH_MAX + 32], user_preload[PATH_MAX * 2];

/* ---- the functions behind ours ---- */

#define FUNCS(X) \
	X(open) X(open64) X(openat) X(openat64) X(creat) X(creat64) X(fopen) X(fopen64) X(freopen) X(freopen64) \
	X(mkstemp) X(mkstemp64) X(mkostemp) X(mkostemp64) X(mkstemps) X(mkstemps64) X(mkostemps) X(mkostemps64) X(mkdtemp) \
	X(fstatat) X(fstatat64) X(statx) X(access) X(eaccess) X(euidaccess) X(faccessat) \
	X(opendir) X(fdopendir) X(scandir) X(scandir64) X(readlink) X(readlinkat) X(realpath) \
	X(mkdir) X(mkdirat) X(rename) X(renameat) X(renameat2) X(unlink) X(unlinkat) X(rmdir) X(remove) \
	X(link) X(linkat) X(symlink) X(symlinkat) X(truncate) X(truncate64) X(chmod) X(lchmod) X(fchmodat) \
	X(chown) X(lchown) X(fchownat) X(utime) X(utimes) X(lutimes) X(futimesat) X(utimensat) \
	X(connect) X(sendto) X(getaddrinfo) X(execve) X(execvpe) X(fexecve) X(posix_spawn) X(posix_spawnp) X(popen) \
	X(glob) X(glob64) X(fts_open) X(fts64_open) X(ftw) X(ftw64) X(nftw) X(nftw64)

enum {
#define X(f) F_##f,
	FUNCS(X)
#undef X
	F_COUNT
};
static const char *const names[] = {
#define X(f) #f,
	FUNCS(X)
#undef X
};
static void *real[F_COUNT];

static void *get(int f)
{
	void *p = __atomic_load_n(&real[f], __ATOMIC_RELAXED);
	if (!p) {
		p = dlsym(RTLD_NEXT, names[f]);
		__atomic_store_n(&real[f], p, __ATOMIC_RELAXED);
	}
	return p;
}
#define REAL(f) ((__typeof__(&f))get(F_##f))

/* ---- the ring ---- */

static void lost(void)
{
	if (ring)
		__atomic_fetch_add(&ring->dropped, 1, __ATOMIC_SEQ_CST);
}

/* Dedup holds only for what changes nothing; err and flags are in the key. */
static uint64_t key_of(enum op op, int err, uint32_t flags, uint64_t cell, const char *p, size_t n)
{
	uint64_t h = 1469598103934665603ULL;
	uint64_t words[4] = {op, (uint64_t)(uint32_t)err << 32 | flags, cell,
			     __atomic_load_n(&ring->epoch, __ATOMIC_SEQ_CST)};
	for (int i = 0; i < 4; i++)
		h = (h ^ words[i]) * 0x9E3779B97F4A7C15ULL, h ^= h >> 29;
	for (size_t i = 0; i < n; i++)
		h = (h ^ (unsigned char)p[i]) * 1099511628211ULL;
	h ^= h >> 32;
	return h ? h : 1;
}

static void put(enum op op, int err, uint32_t flags, const char *p1, size_t n1, const char *p2, size_t n2)
{
	uint64_t cell = __atomic_load_n(&ring->cell, __ATOMIC_SEQ_CST), key = 0, *slot = NULL;
	if (op == STAT || op == ACCESS || op == LIST || op == READLINK || (op == OPEN && (flags & (O_ACCMODE | O_CREAT | O_TRUNC)) == 0)) {
		key = key_of(op, err, flags, cell, p1, n1);
		slot = &seen[key % (sizeof seen / sizeof *seen)];
		if (__atomic_load_n(slot, __ATOMIC_RELAXED) == key)
			return;
	}
	uint64_t size = (sizeof(struct record) + n1 + n2 + 7) & ~7ULL, cap = ring->capacity, pad, head;
	head = __atomic_load_n(&ring->head, __ATOMIC_SEQ_CST);
	do {
		uint64_t left = cap - head % cap;
		pad = left < size ? left : 0;
		if (head + pad + size - __atomic_load_n(&ring->tail, __ATOMIC_SEQ_CST) > cap) {
			lost();
			return;
		}
	} while (!__atomic_compare_exchange_n(&ring->head, &head, head + pad + size, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
	char *data = (char *)ring + DATA;
	if (pad) {
		/* pad may be as small as 8: the reader needs only its commit word */
		__atomic_store_n((uint64_t *)(data + head % cap), (head + 1) | 1ULL << 63, __ATOMIC_RELEASE);
		head += pad;
	}
	struct record *r = (struct record *)(data + head % cap);
	r->size = (uint32_t)size;
	r->op = op;
	r->err = err;
	r->flags = flags;
	r->pid = (int32_t)syscall(SYS_getpid);
	r->tid = (int32_t)syscall(SYS_gettid);
	r->cell = cell;
	r->len1 = (uint16_t)n1;
	r->len2 = (uint16_t)n2;
	memcpy(r + 1, p1, n1);
	if (n2)
		memcpy((char *)(r + 1) + n1, p2, n2);
	__atomic_store_n(&r->commit, head + 1, __ATOMIC_RELEASE);
	if (slot)
		__atomic_store_n(slot, key, __ATOMIC_RELAXED);
}

static int fd_path(int fd, char *buf, size_t size)
{
	char name[32] = "/proc/self/fd/";
	char digits[12];
	int n = 0, i = 14;
	unsigned v = (unsigned)fd;
	do
		digits[n++] = (char)('0' + v % 10);
	while (v /= 10);
	while (n)
		name[i++] = digits[--n];
	name[i] = 0;
	return (int)syscall(SYS_readlinkat, AT_FDCWD, name, buf, size);
}

/* absolute writes dir/path into buf; -1 means that it cannot be told. */
static int absolute(int dir, const char *path, char *buf)
{
	size_t n = strlen(path), at = 0;
	if (path[0] != '/') {
		int k;
		if (dir == AT_FDCWD) {
			k = (int)syscall(SYS_getcwd, buf, PATH_MAX);
			k -= k > 0;
		} else {
			k = fd_path(dir, buf, PATH_MAX);
		}
		if (k <= 0 || k >= PATH_MAX || buf[0] != '/')
			return -1;
		at = (size_t)k;
		buf[at++] = '/';
	}
	if (at + n > PATH_MAX)
		return -1;
	memcpy(buf + at, path, n);
	return (int)(at + n);
}

static int watching(void) { return ring && !off; }

static void note2(enum op op, int err, uint32_t flags, int dir, const char *path, int dir2, const char *path2)
{
	if (!watching() || !path || err == EFAULT)
		return;
	int saved = errno;
	char a[PATH_MAX + 8], b[PATH_MAX + 8];
	int n = absolute(dir, path, a), m = path2 ? absolute(dir2, path2, b) : 0;
	/* A call on a descriptor that is not open names no path. */
	if (n >= 0 && m >= 0)
		put(op, err, flags, a, (size_t)n, b, (size_t)m);
	else if (err != EBADF && err != ENOTDIR)
		lost();
	errno = saved;
}

static void note(enum op op, int failed, uint32_t flags, int dir, const char *path)
{
	note2(op, failed ? errno : 0, flags, dir, path, AT_FDCWD, NULL);
}

static void note_fd(enum op op, int failed, int fd)
{
	char buf[PATH_MAX];
	int err = failed ? errno : 0, saved = errno;
	if (!watching() || err == EBADF)
		return;
	int n = fd_path(fd, buf, sizeof buf);
	if (n > 0 && buf[0] == '/')
		put(op, err, 0, buf, (size_t)n, NULL, 0);
	else if (n <= 0)
		lost();
	errno = saved;
}

EXPORT void kedge_observe_mark(uint64_t cell)
{
	if (!ring)
		return;
	__atomic_store_n(&ring->cell, cell, __ATOMIC_SEQ_CST);
	__atomic_fetch_add(&ring->epoch, 1, __ATOMIC_SEQ_CST);
}

EXPORT void kedge_observe_off(int on) { off = on; }

/* ---- start ---- */

static int starts(const char *s, const char *with) { return strncmp(s, with, strlen(with)) == 0; }

static void take_environment(char **envp)
{
	char **to = envp;
	for (char **from = envp; *from; from++) {
		if (starts(*from, "KEDGE_OBSERVE_RING=") && strlen(*from) < sizeof ring_entry) {
			strcpy(ring_entry, *from);
			continue;
		}
		if (starts(*from, "LD_PRELOAD=")) {
			const char *v = *from + 11;
			size_t n = strcspn(v, ": ");
			if (n >= 19 && n < sizeof lib_path && !memcmp(v + n - 19, "libkedge_observe.so", 19)) {
				memcpy(lib_path, v, n);
				v += n + (v[n] != 0);
				if (!*v || strlen(v) + 12 > sizeof user_preload)
					continue;
				strcpy(user_preload, "LD_PRELOAD=");
				strcat(user_preload, v);
				*to++ = user_preload;
				continue;
			}
		}
		*to++ = *from;
	}
	*to = NULL;
}

__attribute__((constructor)) static void start(int argc, char **argv, char **envp)
{
	(void)argc;
	(void)argv;
	for (int i = 0; i < F_COUNT; i++)
		get(i);
	take_environment(envp);
	if (!ring_entry[0])
		return;
	int fd = (int)syscall(SYS_openat, AT_FDCWD, ring_entry + 19, O_RDWR | O_CLOEXEC, 0);
	if (fd < 0)
		return;
	struct header *h = mmap(NULL, DATA, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (h != MAP_FAILED) {
		uint64_t cap = h->magic == MAGIC && h->version == VERSION ? h->capacity : 0;
		munmap(h, DATA);
		if (cap) {
			h = mmap(NULL, DATA + cap, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
			if (h != MAP_FAILED)
				ring = h;
		}
	}
	syscall(SYS_close, fd);
	if (ring) {
		char exe[PATH_MAX];
		long n = syscall(SYS_readlinkat, AT_FDCWD, "/proc/self/exe", exe, sizeof exe);
		put(HELLO, 0, 0, exe, n > 0 ? (size_t)n : 0, NULL, 0);
	}
	errno = 0;
}

/* ---- opening ---- */

static uint32_t existed(int dir, const char *path, int flags)
{
	if (!watching() || !(flags & O_CREAT))
		return 0;
	int saved = errno;
	long rc = syscall(SYS_faccessat, dir, path, F_OK);
	errno = saved;
	return rc == 0 ? EXISTED : 0;
}

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
	note(OPEN, fd < 0, (uint32_t)flags | was, dir, path); \
	return fd;

EXPORT int open(const char *path, int flags, ...) { MODE(flags) OPENED(AT_FDCWD, REAL(open)(path, flags, mode)) }
EXPORT int open64(const char *path, int flags, ...) { MODE(flags) OPENED(AT_FDCWD, REAL(open64)(path, flags, mode)) }
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
	uint32_t was = path ? existed(AT_FDCWD, path, flags) : 0; \
	FILE *f = call; \
	note(OPEN, !f, (uint32_t)flags | was, AT_FDCWD, path); \
	return f;
EXPORT FILE *fopen(const char *path, const char *m) { FOPENED(REAL(fopen)(path, m)) }
EXPORT FILE *fopen64(const char *path, const char *m) { FOPENED(REAL(fopen64)(path, m)) }
EXPORT FILE *freopen(const char *path, const char *m, FILE *s) { FOPENED(REAL(freopen)(path, m, s)) }
EXPORT FILE *freopen64(const char *path, const char *m, FILE *s) { FOPENED(REAL(freopen64)(path, m, s)) }

#define TEMP(f, args, ...) \
	EXPORT int f args \
	{ \
		int fd = REAL(f)(__VA_ARGS__); \
		note(OPEN, fd < 0, O_RDWR | O_CREAT | O_EXCL, AT_FDCWD, t); \
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

/* ---- looking ---- */

/* An empty path is a question about the descriptor, not about a name. */
#define LOOKED(o, dir, call) \
	int rc = call; \
	if (path && (rc < 0 && errno == EFAULT ? 0 : path[0])) \
		note(o, rc < 0, 0, dir, path); \
	return rc;
EXPORT int stat(const char *path, struct stat *b) { LOOKED(STAT, AT_FDCWD, REAL(fstatat)(AT_FDCWD, path, b, 0)) }
EXPORT int lstat(const char *path, struct stat *b) { LOOKED(STAT, AT_FDCWD, REAL(fstatat)(AT_FDCWD, path, b, AT_SYMLINK_NOFOLLOW)) }
EXPORT int fstatat(int d, const char *path, struct stat *b, int fl) { LOOKED(STAT, d, REAL(fstatat)(d, path, b, fl)) }
EXPORT int stat64(const char *path, struct stat64 *b) { LOOKED(STAT, AT_FDCWD, REAL(fstatat64)(AT_FDCWD, path, b, 0)) }
EXPORT int lstat64(const char *path, struct stat64 *b) { LOOKED(STAT, AT_FDCWD, REAL(fstatat64)(AT_FDCWD, path, b, AT_SYMLINK_NOFOLLOW)) }
EXPORT int fstatat64(int d, const char *path, struct stat64 *b, int fl) { LOOKED(STAT, d, REAL(fstatat64)(d, path, b, fl)) }
EXPORT int __xstat(int v, const char *path, struct stat *b) { (void)v; LOOKED(STAT, AT_FDCWD, REAL(fstatat)(AT_FDCWD, path, b, 0)) }
EXPORT int __lxstat(int v, const char *path, struct stat *b) { (void)v; LOOKED(STAT, AT_FDCWD, REAL(fstatat)(AT_FDCWD, path, b, AT_SYMLINK_NOFOLLOW)) }
EXPORT int __fxstatat(int v, int d, const char *path, struct stat *b, int fl) { (void)v; LOOKED(STAT, d, REAL(fstatat)(d, path, b, fl)) }
EXPORT int __xstat64(int v, const char *path, struct stat64 *b) { (void)v; LOOKED(STAT, AT_FDCWD, REAL(fstatat64)(AT_FDCWD, path, b, 0)) }
EXPORT int __lxstat64(int v, const char *path, struct stat64 *b) { (void)v; LOOKED(STAT, AT_FDCWD, REAL(fstatat64)(AT_FDCWD, path, b, AT_SYMLINK_NOFOLLOW)) }
EXPORT int __fxstatat64(int v, int d, const char *path, struct stat64 *b, int fl) { (void)v; LOOKED(STAT, d, REAL(fstatat64)(d, path, b, fl)) }
EXPORT int statx(int d, const char *path, int fl, unsigned m, struct statx *b) { LOOKED(STAT, d, REAL(statx)(d, path, fl, m, b)) }
EXPORT int access(const char *path, int m) { LOOKED(ACCESS, AT_FDCWD, REAL(access)(path, m)) }
EXPORT int eaccess(const char *path, int m) { LOOKED(ACCESS, AT_FDCWD, REAL(eaccess)(path, m)) }
EXPORT int euidaccess(const char *path, int m) { LOOKED(ACCESS, AT_FDCWD, REAL(euidaccess)(path, m)) }
EXPORT int faccessat(int d, const char *path, int m, int fl) { LOOKED(ACCESS, d, REAL(faccessat)(d, path, m, fl)) }

EXPORT DIR *opendir(const char *path)
{
	DIR *d = REAL(opendir)(path);
	note(LIST, !d, 0, AT_FDCWD, path);
	return d;
}
EXPORT DIR *fdopendir(int fd)
{
	DIR *d = REAL(fdopendir)(fd);
	note_fd(LIST, !d, fd);
	return d;
}
#define SCANDIR(f, e) \
	EXPORT int f(const char *path, struct e ***out, int (*keep)(const struct e *), int (*cmp)(const struct e **, const struct e **)) \
	{ \
		int n = REAL(f)(path, out, keep, cmp); \
		note(LIST, n < 0, 0, AT_FDCWD, path); \
		return n; \
	}
SCANDIR(scandir, dirent)
SCANDIR(scandir64, dirent64)

EXPORT ssize_t readlink(const char *path, char *b, size_t n)
{
	ssize_t rc = REAL(readlink)(path, b, n);
	note(READLINK, rc < 0, 0, AT_FDCWD, path);
	return rc;
}
EXPORT ssize_t readlinkat(int d, const char *path, char *b, size_t n)
{
	ssize_t rc = REAL(readlinkat)(d, path, b, n);
	if (path && path[0])
		note(READLINK, rc < 0, 0, d, path);
	return rc;
}
EXPORT char *realpath(const char *path, char *out)
{
	char *r = REAL(realpath)(path, out);
	note(READLINK, !r, 0, AT_FDCWD, path);
	return r;
}
EXPORT char *__realpath_chk(const char *path, char *out, size_t n)
{
	if (out && n < PATH_MAX)
		abort();
	return realpath(path, out);
}

/* Walks inside libc cannot be followed: they are counted as lost records. */
#define WALK(ret, f, args, ...) \
	EXPORT ret f args \
	{ \
		if (!off) \
			lost(); \
		return ((ret(*) args)get(F_##f))(__VA_ARGS__); \
	}

/* ---- changing ---- */

#define DONE1(o, dir, call) \
	int rc = call; \
	note(o, rc < 0, 0, dir, path); \
	return rc;
#define DONE2(o, fl, d1, p1, d2, p2, call) \
	int rc = call; \
	note2(o, rc < 0 ? errno : 0, fl, d1, p1, d2, p2); \
	return rc;
EXPORT int mkdir(const char *path, mode_t m) { DONE1(MKDIR, AT_FDCWD, REAL(mkdir)(path, m)) }
EXPORT int mkdirat(int d, const char *path, mode_t m) { DONE1(MKDIR, d, REAL(mkdirat)(d, path, m)) }
EXPORT int unlink(const char *path) { DONE1(UNLINK, AT_FDCWD, REAL(unlink)(path)) }
EXPORT int unlinkat(int d, const char *path, int fl) { DONE1(fl & AT_REMOVEDIR ? RMDIR : UNLINK, d, REAL(unlinkat)(d, path, fl)) }
EXPORT int rmdir(const char *path) { DONE1(RMDIR, AT_FDCWD, REAL(rmdir)(path)) }
EXPORT int remove(const char *path) { DONE1(UNLINK, AT_FDCWD, REAL(remove)(path)) }
EXPORT int rename(const char *a, const char *b) { DONE2(RENAME, 0, AT_FDCWD, a, AT_FDCWD, b, REAL(rename)(a, b)) }
EXPORT int renameat(int d, const char *a, int e, const char *b) { DONE2(RENAME, 0, d, a, e, b, REAL(renameat)(d, a, e, b)) }
EXPORT int renameat2(int d, const char *a, int e, const char *b, unsigned fl) { DONE2(RENAME, fl, d, a, e, b, REAL(renameat2)(d, a, e, b, fl)) }
EXPORT int link(const char *a, const char *b) { DONE2(LINK, 0, AT_FDCWD, a, AT_FDCWD, b, REAL(link)(a, b)) }
EXPORT int linkat(int d, const char *a, int e, const char *b, int fl) { DONE2(LINK, 0, d, a, e, b, REAL(linkat)(d, a, e, b, fl)) }
EXPORT int symlink(const char *to, const char *path) { DONE1(SYMLINK, AT_FDCWD, REAL(symlink)(to, path)) }
EXPORT int symlinkat(const char *to, int d, const char *path) { DONE1(SYMLINK, d, REAL(symlinkat)(to, d, path)) }
EXPORT int truncate(const char *path, off_t n) { DONE1(TRUNCATE, AT_FDCWD, REAL(truncate)(path, n)) }
EXPORT int truncate64(const char *path, off64_t n) { DONE1(TRUNCATE, AT_FDCWD, REAL(truncate64)(path, n)) }
EXPORT int chmod(const char *path, mode_t m) { DONE1(CHMOD, AT_FDCWD, REAL(chmod)(path, m)) }
EXPORT int lchmod(const char *path, mode_t m) { DONE1(CHMOD, AT_FDCWD, REAL(lchmod)(path, m)) }
EXPORT int fchmodat(int d, const char *path, mode_t m, int fl) { DONE1(CHMOD, d, REAL(fchmodat)(d, path, m, fl)) }
EXPORT int chown(const char *path, uid_t u, gid_t g) { DONE1(CHMOD, AT_FDCWD, REAL(chown)(path, u, g)) }
EXPORT int lchown(const char *path, uid_t u, gid_t g) { DONE1(CHMOD, AT_FDCWD, REAL(lchown)(path, u, g)) }
EXPORT int fchownat(int d, const char *path, uid_t u, gid_t g, int fl) { DONE1(CHMOD, d, REAL(fchownat)(d, path, u, g, fl)) }
EXPORT int utime(const char *path, const struct utimbuf *t) { DONE1(UTIME, AT_FDCWD, REAL(utime)(path, t)) }
EXPORT int utimes(const char *path, const struct timeval t[2]) { DONE1(UTIME, AT_FDCWD, REAL(utimes)(path, t)) }
EXPORT int lutimes(const char *path, const struct timeval t[2]) { DONE1(UTIME, AT_FDCWD, REAL(lutimes)(path, t)) }
EXPORT int futimesat(int d, const char *path, const struct timeval t[2]) { DONE1(UTIME, d, REAL(futimesat)(d, path, t)) }
EXPORT int utimensat(int d, const char *path, const struct timespec t[2], int fl) { DONE1(UTIME, d, REAL(utimensat)(d, path, t, fl)) }

WALK(int, glob, (const char *p, int fl, void *e, void *g), p, fl, e, g)
WALK(int, glob64, (const char *p, int fl, void *e, void *g), p, fl, e, g)
WALK(void *, fts_open, (char *const *p, int fl, void *c), p, fl, c)
WALK(void *, fts64_open, (char *const *p, int fl, void *c), p, fl, c)
WALK(int, ftw, (const char *p, void *fn, int n), p, fn, n)
WALK(int, ftw64, (const char *p, void *fn, int n), p, fn, n)
WALK(int, nftw, (const char *p, void *fn, int n, int fl), p, fn, n, fl)
WALK(int, nftw64, (const char *p, void *fn, int n, int fl), p, fn, n, fl)

/* ---- connecting ---- */

static void note_peer(int err, const struct sockaddr *a, socklen_t len)
{
	if (!watching() || !a || len < sizeof(sa_family_t) || err == EFAULT || a->sa_family == AF_UNSPEC)
		return;
	int saved = errno;
	char s[160] = "other";
	size_t n = 5;
	if (a->sa_family == AF_UNIX) {
		const struct sockaddr_un *u = (const struct sockaddr_un *)a;
		size_t k = len - offsetof(struct sockaddr_un, sun_path);
		if (k > sizeof u->sun_path)
			k = sizeof u->sun_path;
		memcpy(s, "unix:", 5);
		memcpy(s + 5, u->sun_path, k);
		if (k && !u->sun_path[0])
			s[5] = '@';
		else
			k = strnlen(u->sun_path, k);
		n = 5 + k;
	} else if (a->sa_family == AF_INET || a->sa_family == AF_INET6) {
		int six = a->sa_family == AF_INET6;
		const void *addr = six ? (const void *)&((const struct sockaddr_in6 *)a)->sin6_addr : (const void *)&((const struct sockaddr_in *)a)->sin_addr;
		unsigned port = ntohs(((const struct sockaddr_in *)a)->sin_port);
		char d[6];
		int k = 0;
		memcpy(s, six ? "inet6:[" : "inet:", six ? 8 : 6);
		n = strlen(s);
		inet_ntop(a->sa_family, addr, s + n, 64);
		n = strlen(s);
		if (six)
			s[n++] = ']';
		s[n++] = ':';
		do
			d[k++] = (char)('0' + port % 10);
		while (port /= 10);
		while (k)
			s[n++] = d[--k];
	}
	put(CONNECT, err, 0, s, n, NULL, 0);
	errno = saved;
}

EXPORT int connect(int fd, const struct sockaddr *a, socklen_t len)
{
	int rc = REAL(connect)(fd, a, len);
	note_peer(rc < 0 ? errno : 0, a, len);
	return rc;
}
EXPORT ssize_t sendto(int fd, const void *b, size_t n, int fl, const struct sockaddr *a, socklen_t len)
{
	ssize_t rc = REAL(sendto)(fd, b, n, fl, a, len);
	note_peer(rc < 0 ? errno : 0, a, len);
	return rc;
}
EXPORT int getaddrinfo(const char *host, const char *port, const struct addrinfo *hint, struct addrinfo **out)
{
	int rc = REAL(getaddrinfo)(host, port, hint, out);
	if (host && watching() && !(hint && hint->ai_flags & AI_NUMERICHOST)) {
		int saved = errno;
		char s[270] = "name:";
		size_t n = strnlen(host, 256);
		memcpy(s + 5, host, n);
		put(CONNECT, 0, 0, s, n + 5, NULL, 0);
		errno = saved;
	}
	return rc;
}

/* ---- running ---- */

static void note_exec(const char *path)
{
	if (!watching() || !path)
		return;
	int saved = errno;
	long rc = syscall(SYS_faccessat, AT_FDCWD, path, X_OK);
	note2(EXEC, rc < 0 ? errno : 0, 0, AT_FDCWD, path, AT_FDCWD, NULL);
	errno = saved;
}

static void note_search(const char *file)
{
	if (!watching() || !file)
		return;
	if (strchr(file, '/')) {
		note_exec(file);
		return;
	}
	int saved = errno;
	const char *p = getenv("PATH");
	size_t n = strlen(file);
	for (p = p ? p : "/bin:/usr/bin"; ; p++) {
		char buf[PATH_MAX];
		size_t k = strcspn(p, ":");
		if (k + n + 2 < sizeof buf) {
			memcpy(buf, p, k);
			if (k)
				buf[k++] = '/';
			memcpy(buf + k, file, n + 1);
			note_exec(buf);
			if (syscall(SYS_faccessat, AT_FDCWD, buf, X_OK) == 0)
				break;
		}
		p += strcspn(p, ":");
		if (!*p)
			break;
	}
	errno = saved;
}

#define MOST_ENV 8192

/* carry writes into out the environment that lets a child find us again. */
static size_t count(char *const *v)
{
	size_t n = 0;
	while (v && v[n])
		n++;
	return n;
}
static size_t preload_room(char *const *env)
{
	size_t n = strlen(lib_path) + 16;
	for (; env && *env; env++)
		if (starts(*env, "LD_PRELOAD="))
			n += strlen(*env);
	return n;
}
static void carry(char *const *env, char **out, char *entry)
{
	const char *user = "";
	size_t n = 0;
	for (; env && *env; env++) {
		if (starts(*env, "KEDGE_OBSERVE_RING="))
			continue;
		if (starts(*env, "LD_PRELOAD=")) {
			user = *env + 11;
			continue;
		}
		out[n++] = *env;
	}
	strcpy(entry, "LD_PRELOAD=");
	strcat(entry, lib_path);
	if (*user && !starts(user, lib_path)) {
		strcat(entry, ":");
		strcat(entry, user);
	} else if (*user) {
		strcpy(entry + 11, user);
	}
	out[n++] = entry;
	out[n++] = ring_entry;
	out[n] = NULL;
}
#define CARRY(env) \
	char *const *env2 = env; \
	size_t env_n = count(env); \
	if (ring && !off && lib_path[0]) { \
		if (env_n < MOST_ENV) { \
			char **made = alloca((env_n + 3) * sizeof *made); \
			carry(env, made, alloca(preload_room(env))); \
			env2 = made; \
		} else { \
			lost(); \
		} \
	}

EXPORT int execve(const char *path, char *const argv[], char *const env[])
{
	note_exec(path);
	CARRY(env)
	return REAL(execve)(path, argv, env2);
}
EXPORT int execv(const char *path, char *const argv[]) { return execve(path, argv, environ); }
EXPORT int execvpe(const char *file, char *const argv[], char *const env[])
{
	note_search(file);
	CARRY(env)
	return REAL(execvpe)(file, argv, env2);
}
EXPORT int execvp(const char *file, char *const argv[]) { return execvpe(file, argv, environ); }
EXPORT int fexecve(int fd, char *const argv[], char *const env[])
{
	note_fd(EXEC, 0, fd);
	CARRY(env)
	return REAL(fexecve)(fd, argv, env2);
}
#define ARGS(extra) \
	va_list ap; \
	size_t n = 1; \
	va_start(ap, arg); \
	while (va_arg(ap, const char *)) \
		n++; \
	va_end(ap); \
	char **argv = alloca((n + 1) * sizeof *argv); \
	argv[0] = (char *)arg; \
	va_start(ap, arg); \
	for (size_t i = 1; i <= n; i++) \
		argv[i] = va_arg(ap, char *); \
	extra; \
	va_end(ap);
EXPORT int execl(const char *path, const char *arg, ...) { ARGS() return execve(path, argv, environ); }
EXPORT int execlp(const char *path, const char *arg, ...) { ARGS() return execvpe(path, argv, environ); }
EXPORT int execle(const char *path, const char *arg, ...) { ARGS(char *const *env = va_arg(ap, char *const *)) return execve(path, argv, env); }

EXPORT int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *fa, const posix_spawnattr_t *at, char *const argv[], char *const env[])
{
	note_exec(path);
	CARRY(env)
	return REAL(posix_spawn)(pid, path, fa, at, argv, env2);
}
EXPORT int posix_spawnp(pid_t *pid, const char *path, const posix_spawn_file_actions_t *fa, const posix_spawnattr_t *at, char *const argv[], char *const env[])
{
	note_search(path);
	CARRY(env)
	return REAL(posix_spawnp)(pid, path, fa, at, argv, env2);
}

/* libc's own system() would hand the child an environment without us. */
EXPORT int system(const char *command)
{
	if (!command)
		return 1;
	char *argv[] = {"sh", "-c", (char *)command, NULL};
	struct sigaction ign = {.sa_handler = SIG_IGN}, old_int, old_quit;
	sigset_t chld, mask, defaults;
	posix_spawnattr_t at;
	pid_t pid;
	int status = -1;
	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	sigaction(SIGINT, &ign, &old_int);
	sigaction(SIGQUIT, &ign, &old_quit);
	pthread_sigmask(SIG_BLOCK, &chld, &mask);
	sigemptyset(&defaults);
	if (old_int.sa_handler != SIG_IGN)
		sigaddset(&defaults, SIGINT);
	if (old_quit.sa_handler != SIG_IGN)
		sigaddset(&defaults, SIGQUIT);
	posix_spawnattr_init(&at);
	posix_spawnattr_setsigmask(&at, &mask);
	posix_spawnattr_setsigdefault(&at, &defaults);
	posix_spawnattr_setflags(&at, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	int err = posix_spawn(&pid, "/bin/sh", NULL, &at, argv, environ);
	posix_spawnattr_destroy(&at);
	if (err) {
		status = 127 << 8;
	} else {
		while (waitpid(pid, &status, 0) < 0)
			if (errno != EINTR) {
				status = -1;
				break;
			}
	}
	sigaction(SIGINT, &old_int, NULL);
	sigaction(SIGQUIT, &old_quit, NULL);
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
	return status;
}
/* The child of popen runs without us: its EXEC has no HELLO. */
EXPORT FILE *popen(const char *command, const char *type)
{
	note_exec("/bin/sh");
	return REAL(popen)(command, type);
}
