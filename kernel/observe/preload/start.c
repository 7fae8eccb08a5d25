/* How the library comes up, and how it finds the functions behind its own. */
#include "observe.h"
#include "names.h"
#include <dlfcn.h>
#include <link.h>

static const char *const names[] = {
#define X(f) #f,
	FUNCS(X)
#undef X
};
static void *real[F_COUNT];
static void *(*real_dlsym)(void *, const char *);

/* Our functions by name, for those who look libc's up in libc itself. */
#define X(f) extern void *ours_##f(void) __asm__(#f);
FUNCS(X)
#undef X
static void *(*const ours[])(void) = {
#define X(f) ours_##f,
	FUNCS(X)
#undef X
};

static void find_dlsym(void)
{
	static const char *const versions[] = {"GLIBC_2.34", "GLIBC_2.2.5", "GLIBC_2.17"};
	for (size_t i = 0; !real_dlsym && i < sizeof versions / sizeof *versions; i++)
		*(void **)&real_dlsym = dlvsym(RTLD_NEXT, "dlsym", versions[i]);
}

void *get(int f)
{
	void *p = __atomic_load_n(&real[f], __ATOMIC_RELAXED);
	if (!p) {
		int saved = errno;
		if (!real_dlsym)
			find_dlsym();
		p = real_dlsym(RTLD_NEXT, names[f]);
		__atomic_store_n(&real[f], p, __ATOMIC_RELAXED);
		errno = saved;
	}
	return p;
}

/* RTLD_NEXT and RTLD_DEFAULT depend on who asks: the call below must leave no
 * frame of ours, so that the real one sees our caller as its own. */
EXPORT __attribute__((optimize("O2", "optimize-sibling-calls"))) void *dlsym(void *handle, const char *name)
{
	if (!real_dlsym)
		find_dlsym();
	if (handle == RTLD_NEXT || handle == RTLD_DEFAULT)
		return real_dlsym(handle, name);
	void *found = real_dlsym(handle, name);
	for (int f = 0; found && f < F_COUNT; f++)
		if (!strcmp(name, names[f]) && found == get(f))
			return (void *)ours[f];
	return found;
}

/* Libraries that ld.so loaded before us, unless they are the system's. */
static int note_loaded(struct dl_phdr_info *info, size_t size, void *data)
{
	static const char *const system[] = {"/lib/", "/lib64/", "/usr/lib/", "/usr/lib64/"};
	const char *path = info->dlpi_name;
	(void)size;
	(void)data;
	if (!path || path[0] != '/' || strstr(path, "libkedge_observe.so"))
		return 0;
	for (size_t i = 0; i < sizeof system / sizeof *system; i++)
		if (starts(path, system[i]))
			return 0;
	note2(OPEN, 0, O_RDONLY, AT_FDCWD, path, AT_FDCWD, NULL);
	return 0;
}

__attribute__((constructor)) static void start(int argc, char **argv, char **envp)
{
	(void)argc;
	(void)argv;
	for (int i = 0; i < F_COUNT; i++)
		get(i); /* looking one up later takes a lock */
	take_environment(envp);
	if (watching()) {
		char exe[PATH_MAX + 1];
		long n = RAW(SYS_readlinkat, AT_FDCWD, "/proc/self/exe", exe, PATH_MAX);
		exe[n > 0 ? n : 0] = 0;
		note2(HELLO, 0, 0, AT_FDCWD, n > 0 ? exe : "/", AT_FDCWD, NULL);
		dl_iterate_phdr(note_loaded, NULL);
	}
	errno = 0;
}

/* dlopen resolves names by the folders of whoever asks: see dlsym. */
EXPORT __attribute__((optimize("O2", "optimize-sibling-calls"))) void *dlopen(const char *path, int flags)
{
	if (path && strchr(path, '/') && !(flags & RTLD_NOLOAD))
		note2(OPEN, RAW(SYS_faccessat, AT_FDCWD, path, R_OK) < 0 ? ENOENT : 0, O_RDONLY, AT_FDCWD, path, AT_FDCWD, NULL);
	return REAL(dlopen)(path, flags);
}
EXPORT __attribute__((optimize("O2", "optimize-sibling-calls"))) void *dlmopen(Lmid_t space, const char *path, int flags)
{
	if (path)
		lost(); /* another libc is loaded there, which is not ours */
	return REAL(dlmopen)(space, path, flags);
}
