/* What kind of program a file is: whether we can be loaded into it. */
#include "program.h"
#include <elf.h>
#include <stdlib.h>
#include <sys/stat.h>

#define MOST_SEGMENTS 32

static long take(int fd, void *to, size_t n, uint64_t at) { return RAW(SYS_pread64, fd, to, n, at); }

/* The offset in the file of an address in memory; 0 if no segment holds it. */
static uint64_t offset_of(const Elf64_Phdr *p, int n, uint64_t addr)
{
	for (int i = 0; i < n; i++)
		if (p[i].p_type == PT_LOAD && addr >= p[i].p_vaddr && addr < p[i].p_vaddr + p[i].p_filesz)
			return addr - p[i].p_vaddr + p[i].p_offset;
	return 0;
}

/* Programs that bring a sanitizer end if another library is loaded before it. */
static int sanitized(int fd, const Elf64_Phdr *p, int n, const Elf64_Phdr *dynamic)
{
	Elf64_Dyn d[128];
	long got = take(fd, d, dynamic->p_filesz < sizeof d ? dynamic->p_filesz : sizeof d, dynamic->p_offset);
	int count = got > 0 ? (int)((size_t)got / sizeof *d) : 0;
	uint64_t strings = 0;
	for (int i = 0; i < count; i++)
		if (d[i].d_tag == DT_STRTAB)
			strings = offset_of(p, n, d[i].d_un.d_ptr);
	for (int i = 0; strings && i < count && d[i].d_tag != DT_NULL; i++) {
		char name[24] = "";
		if (d[i].d_tag != DT_NEEDED || take(fd, name, sizeof name - 1, strings + d[i].d_un.d_val) <= 0)
			continue;
		if (starts(name, "libasan.") || starts(name, "libtsan.") || starts(name, "libmsan.") || starts(name, "libclang_rt."))
			return 1;
	}
	return 0;
}

/* Go calls the kernel past libc, also where it is linked to one. */
static int noted_go(int fd, const Elf64_Phdr *note)
{
	char b[512];
	long n = take(fd, b, note->p_filesz < sizeof b ? note->p_filesz : sizeof b, note->p_offset);
	for (long at = 0; at + (long)sizeof(Elf64_Nhdr) + 4 <= n;) {
		const Elf64_Nhdr *h = (const Elf64_Nhdr *)(b + at);
		if (h->n_namesz == 4 && !memcmp(h + 1, "Go\0", 4))
			return 1;
		at += (long)sizeof *h + ((h->n_namesz + 3L) & ~3L) + ((h->n_descsz + 3L) & ~3L);
	}
	return 0;
}

static enum blocked elf_kind(int fd, const Elf64_Ehdr *h)
{
#if defined(__x86_64__)
	const int machine = EM_X86_64;
#else
	const int machine = EM_AARCH64;
#endif
	Elf64_Phdr p[MOST_SEGMENTS];
	const Elf64_Phdr *dynamic = NULL, *interpreter = NULL;
	if (h->e_ident[EI_CLASS] != ELFCLASS64 || h->e_machine != machine)
		return FOREIGN;
	int n = h->e_phnum < MOST_SEGMENTS ? h->e_phnum : MOST_SEGMENTS;
	if (h->e_phentsize != sizeof *p || take(fd, p, (size_t)n * sizeof *p, h->e_phoff) != (long)((size_t)n * sizeof *p))
		return FOREIGN;
	for (int i = 0; i < n; i++) {
		if (p[i].p_type == PT_INTERP)
			interpreter = &p[i];
		else if (p[i].p_type == PT_DYNAMIC)
			dynamic = &p[i];
		else if (p[i].p_type == PT_NOTE && noted_go(fd, &p[i]))
			return GOLANG;
	}
	if (!interpreter)
		return STATIC;
	char ld[128] = "";
	if (take(fd, ld, sizeof ld - 1, interpreter->p_offset) > 0 && strstr(ld, "ld-musl"))
		return MUSL;
	return dynamic && sanitized(fd, p, n, dynamic) ? SANITIZER : SEEN;
}

static enum blocked kind(int dir, const char *path, int flags, int depth)
{
	union {
		Elf64_Ehdr elf;
		char text[256];
	} b;
	struct stat st;
	char capability[64];
	int fd = (int)RAW(SYS_openat, dir, path, flags | O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return SEEN; /* it will not start, or says no HELLO */
	enum blocked why = SEEN;
	long n = RAW(SYS_fstat, fd, &st) == 0 && S_ISREG(st.st_mode) ? take(fd, &b, sizeof b - 1, 0) : 0;
	if (n > 0 && ((st.st_mode & S_ISUID) || (st.st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) ||
		      RAW(SYS_fgetxattr, fd, "security.capability", capability, sizeof capability) > 0))
		why = SETUID;
	else if (n >= (long)sizeof b.elf && !memcmp(b.elf.e_ident, ELFMAG, SELFMAG))
		why = elf_kind(fd, &b.elf);
	RAW(SYS_close, fd);
	if (n > 2 && b.text[0] == '#' && b.text[1] == '!' && depth < 4) {
		b.text[n] = 0;
		char *at = b.text + 2 + strspn(b.text + 2, " \t");
		at[strcspn(at, " \t\r\n")] = 0;
		if (why == SEEN)
			why = kind(AT_FDCWD, at, 0, depth + 1);
	}
	return why;
}

enum blocked program_kind(int dir, const char *path) { return path ? kind(dir, path, 0, 0) : SEEN; }
