/* Memory of arrays that are restored: pages of our own, over which the store's
 * segments are mapped, privately. numpy asks for it by the functions of an
 * allocator (NEP 49) whose name is that of numpy's own.
 *
 * The page before the data says how long it is, and who holds it: the buffer
 * that was filled and the array that has taken it over. Called with the lock of
 * the interpreter, but for the count of maps, which forks copy. */
#include "observe.h"
#include <sys/mman.h>

#define MOST 8192 /* maps of one process: beyond 65,530 of all kinds malloc fails */

struct region {
	size_t length; /* bytes that were asked for */
	size_t size;   /* bytes that are mapped, this page included */
	long maps, holders;
};

static long maps; /* of all regions */
static __thread char *offered;

static size_t page(void)
{
	static size_t n;
	return n ? n : (n = (size_t)sysconf(_SC_PAGESIZE));
}
static struct region *of(void *data) { return (struct region *)((char *)data - page()); }
static size_t whole(size_t n) { return (n + page() - 1) & ~(page() - 1); }

static long count(long n) { return __atomic_add_fetch(&maps, n, __ATOMIC_RELAXED); }

static void *reserve(size_t length)
{
	if (length > PTRDIFF_MAX - 2 * page())
		return NULL;
	size_t size = page() + whole(length);
	long at = RAW(SYS_mmap, NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (at < 0 && at > -4096)
		return NULL;
	count(1);
	struct region *r = (struct region *)at;
	*r = (struct region){length, size, 1, 0};
	return (char *)r + page();
}

/* kedge_region_new gives length bytes of zeros that nobody holds yet; NULL if
 * there are too many maps, or there is no memory. */
EXPORT void *kedge_region_new(size_t length)
{
	return count(0) < MOST ? reserve(length) : NULL;
}

/* kedge_region_map lays length bytes of a file from offset on over the region
 * from byte at on. 0 if one of these does not begin a page, or there are too many
 * maps: nothing has changed. -1 if the system refused: the region is of no use. */
EXPORT int kedge_region_map(void *data, size_t at, int fd, off_t offset, size_t length)
{
	struct region *r = of(data);
	size_t n = whole(length), room = r->size - page();
	if (((at | (size_t)offset) & (page() - 1)) || at > room || n > room - at || count(0) >= MOST)
		return 0;
	char *to = (char *)data + at;
	count(1);
	r->maps++;
	return RAW(SYS_mmap, to, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, fd, offset) == (long)to ? 1 : -1;
}

static void end(struct region *r)
{
	count(-r->maps);
	RAW(SYS_munmap, r, r->size);
}

/* kedge_region_offer lets the next malloc of this thread that asks for exactly as
 * much give this region; NULL takes the offer back. */
EXPORT void kedge_region_offer(void *data) { offered = data; }

/* kedge_region_drop ends a region that nobody holds. */
EXPORT void kedge_region_drop(void *data)
{
	if (of(data)->holders == 0)
		end(of(data));
}

/* kedge_region_maps says how many maps there are. */
EXPORT long kedge_region_maps(void) { return __atomic_load_n(&maps, __ATOMIC_RELAXED); }

static void *np_malloc(void *ctx, size_t n)
{
	(void)ctx;
	char *data = offered;
	offered = NULL;
	if (!data || of(data)->length != n)
		data = reserve(n);
	if (data)
		of(data)->holders++;
	return data;
}
static void *np_calloc(void *ctx, size_t n, size_t size)
{
	size_t all;
	return __builtin_mul_overflow(n, size, &all) ? NULL : np_malloc(ctx, all);
}
static void np_free(void *ctx, void *data, size_t n)
{
	(void)ctx;
	(void)n;
	if (data && --of(data)->holders == 0)
		end(of(data));
}
static void *np_realloc(void *ctx, void *data, size_t n)
{
	if (!data)
		return np_malloc(ctx, n);
	struct region *r = of(data);
	if (r->holders == 1 && n <= r->length && whole(n) == r->size - page()) {
		r->length = n;
		return data;
	}
	char *made = reserve(n);
	if (!made)
		return NULL;
	of(made)->holders = 1;
	memcpy(made, data, n < r->length ? n : r->length);
	np_free(ctx, data, 0);
	return made;
}

/* The handler as numpy has it (PyDataMem_Handler of ndarraytypes.h). */
EXPORT struct {
	char name[127];
	uint8_t version;
	struct {
		void *ctx;
		void *(*malloc)(void *ctx, size_t n);
		void *(*calloc)(void *ctx, size_t n, size_t size);
		void *(*realloc)(void *ctx, void *data, size_t n);
		void (*free)(void *ctx, void *data, size_t n);
	} functions;
} kedge_region_handler = {"default_allocator", 1, {NULL, np_malloc, np_calloc, np_realloc, np_free}};
