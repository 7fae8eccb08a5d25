/* The ring: how a record gets in. */
#include "observe.h"
#include <sys/mman.h>
#include <sys/stat.h>

#define MAGIC 0x315642534f47444bULL
#define VERSION 3
#define DATA 4096

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
	int32_t child; /* EXEC: the process that becomes the program, 0 for the caller */
	struct ident ident;
};

__thread int off __attribute__((tls_model("initial-exec")));
static struct header *ring;
static uint64_t seen[8192];

int watching(void) { return ring && !off; }

int starts(const char *s, const char *with) { return strncmp(s, with, strlen(with)) == 0; }

void lost(void)
{
	if (watching())
		__atomic_fetch_add(&ring->dropped, 1, __ATOMIC_SEQ_CST);
}

void ring_open(const char *path)
{
	int fd = (int)RAW(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return;
	struct header *h = (struct header *)RAW(SYS_mmap, NULL, DATA, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if ((unsigned long)h < -4095UL) {
		uint64_t cap = h->magic == MAGIC && h->version == VERSION ? h->capacity : 0;
		RAW(SYS_munmap, h, DATA);
		h = cap ? (struct header *)RAW(SYS_mmap, NULL, DATA + cap, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : NULL;
		if (h && (unsigned long)h < -4095UL)
			ring = h;
	}
	RAW(SYS_close, fd);
}

/* Whether a second record of the same says nothing new: it changed nothing. */
static int repeatable(enum op op, uint32_t flags)
{
	return op == STAT || op == ACCESS || op == LIST || op == READLINK || op == GETENV || op == FACT ||
	       (op == OPEN && (flags & (O_ACCMODE | O_CREAT | O_TRUNC)) == 0);
}

static uint64_t key_of(const struct record *r, const char *p, size_t n)
{
	uint64_t h = 1469598103934665603ULL;
	uint64_t words[7] = {r->op, (uint64_t)(uint32_t)r->err << 32 | r->flags, r->cell,
			     __atomic_load_n(&ring->epoch, __ATOMIC_SEQ_CST),
			     r->ident.ino, (uint64_t)r->ident.size, (uint64_t)r->ident.mtime};
	for (int i = 0; i < 7; i++)
		h = (h ^ words[i]) * 0x9E3779B97F4A7C15ULL, h ^= h >> 29;
	for (size_t i = 0; i < n; i++)
		h = (h ^ (unsigned char)p[i]) * 1099511628211ULL;
	h ^= h >> 32;
	return h ? h : 1;
}

/* put completes r and copies it and its two texts into the ring. */
static void put(struct record *r, const char *p1, size_t n1, const char *p2, size_t n2)
{
	uint64_t key = 0, *slot = NULL;
	r->cell = __atomic_load_n(&ring->cell, __ATOMIC_SEQ_CST);
	if (repeatable((enum op)r->op, r->flags)) {
		key = key_of(r, p1, n1);
		slot = &seen[key % (sizeof seen / sizeof *seen)];
		if (__atomic_load_n(slot, __ATOMIC_RELAXED) == key)
			return;
	}
	uint64_t size = (sizeof *r + n1 + n2 + 7) & ~7ULL, cap = ring->capacity, pad, head;
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
	struct record *to = (struct record *)(data + head % cap);
	r->size = (uint32_t)size;
	r->pid = (int32_t)RAW(SYS_getpid);
	r->tid = (int32_t)RAW(SYS_gettid);
	r->len1 = (uint16_t)n1;
	r->len2 = (uint16_t)n2;
	memcpy((char *)to + sizeof r->commit, (char *)r + sizeof r->commit, sizeof *r - sizeof r->commit);
	memcpy(to + 1, p1, n1);
	if (n2)
		memcpy((char *)(to + 1) + n1, p2, n2);
	__atomic_store_n(&to->commit, head + 1, __ATOMIC_RELEASE);
	if (slot)
		__atomic_store_n(slot, key, __ATOMIC_RELAXED);
}

static long fd_path(int fd, char *buf, size_t size)
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
	return RAW(SYS_readlinkat, AT_FDCWD, name, buf, size);
}

/* absolute writes dir/path into buf and returns its length; -1: it cannot be told. */
static int absolute(int dir, const char *path, char *buf)
{
	size_t n = strlen(path), at = 0;
	if (path[0] != '/') {
		long k;
		if (dir == AT_FDCWD) {
			k = RAW(SYS_getcwd, buf, PATH_MAX);
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

static void note_record(struct record *r, int dir, const char *path, int dir2, const char *path2)
{
	if (!watching() || !path || r->err == EFAULT)
		return;
	int saved = errno;
	char a[PATH_MAX + 8], b[PATH_MAX + 8];
	int n = absolute(dir, path, a), m = path2 ? absolute(dir2, path2, b) : 0;
	/* A call on a descriptor that is not open names no path. */
	if (n >= 0 && m >= 0)
		put(r, a, (size_t)n, b, (size_t)m);
	else if (r->err != EBADF && r->err != ENOTDIR)
		lost();
	errno = saved;
}

void note2(enum op op, int err, uint32_t flags, int dir, const char *path, int dir2, const char *path2)
{
	struct record r = {.op = op, .err = err, .flags = flags};
	note_record(&r, dir, path, dir2, path2);
}

void note(enum op op, int failed, uint32_t flags, int dir, const char *path)
{
	note2(op, failed ? errno : 0, flags, dir, path, AT_FDCWD, NULL);
}

void note_exec(int err, uint32_t why, int32_t child, int dir, const char *path)
{
	struct record r = {.op = EXEC, .err = err, .flags = why, .child = child};
	note_record(&r, dir, path, AT_FDCWD, NULL);
}

void note_open(int fd, uint32_t flags, int dir, const char *path)
{
	struct record r = {.op = OPEN, .err = fd < 0 ? errno : 0, .flags = flags};
	struct stat st;
	if (!watching() || !path)
		return;
	if (fd >= 0 && RAW(SYS_fstat, fd, &st) == 0) {
		if (S_ISREG(st.st_mode))
			r.ident = (struct ident){st.st_ino, st.st_size, st.st_mtim.tv_sec * 1000000000L + st.st_mtim.tv_nsec};
		else
			r.flags |= S_ISDIR(st.st_mode) ? O_DIRECTORY : S_ISLNK(st.st_mode) ? 0 : SPECIAL;
	}
	note_record(&r, dir, path, AT_FDCWD, NULL);
}

void note_fd(enum op op, int failed, uint32_t flags, int fd)
{
	char buf[PATH_MAX];
	struct record r = {.op = op, .err = failed ? errno : 0, .flags = flags};
	if (!watching() || r.err == EBADF)
		return;
	long n = fd_path(fd, buf, sizeof buf);
	if (n > 0 && buf[0] == '/')
		put(&r, buf, (size_t)n, NULL, 0);
	else if (n <= 0)
		lost();
}

void note_text(enum op op, int err, const char *prefix, const char *text, size_t n)
{
	char buf[512];
	struct record r = {.op = op, .err = err};
	size_t k = strlen(prefix);
	if (!watching())
		return;
	if (n > sizeof buf - k) {
		lost();
		return;
	}
	memcpy(buf, prefix, k);
	memcpy(buf + k, text, n);
	put(&r, buf, k + n, NULL, 0);
}

/* existed asks before an open with O_CREAT whether the file is there. */
uint32_t existed(int dir, const char *path, int flags)
{
	if (!watching() || !path || !(flags & O_CREAT))
		return 0;
	return RAW(SYS_faccessat, dir, path, F_OK) == 0 ? EXISTED : 0;
}

EXPORT void kedge_observe_mark(uint64_t cell)
{
	if (!ring)
		return;
	__atomic_store_n(&ring->cell, cell, __ATOMIC_SEQ_CST);
	__atomic_fetch_add(&ring->epoch, 1, __ATOMIC_SEQ_CST);
}

EXPORT void kedge_observe_off(int on) { off = on; }
