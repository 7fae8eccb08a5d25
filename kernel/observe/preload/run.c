/* Running programs: each finds us again in its environment, which its own
 * constructor hides from it; what we cannot be loaded into gets the environment
 * that it would have without us. */
#include "names.h"
#include "program.h"
#include <alloca.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <wordexp.h>

#define LIBRARY "libkedge_observe.so"
#define RING "KEDGE_OBSERVE_RING="
#define PRELOAD "LD_PRELOAD="

static char lib_path[PATH_MAX], ring_entry[PATH_MAX + 32], user_preload[PATH_MAX * 2];

void take_environment(char **envp)
{
	char **to = envp;
	for (char **from = envp; *from; from++) {
		if (starts(*from, RING) && strlen(*from) < sizeof ring_entry) {
			strcpy(ring_entry, *from);
			continue;
		}
		if (starts(*from, PRELOAD)) {
			const char *v = *from + strlen(PRELOAD);
			size_t n = strcspn(v, ": "), k = strlen(LIBRARY);
			if (n >= k && n < sizeof lib_path && !memcmp(v + n - k, LIBRARY, k)) {
				memcpy(lib_path, v, n);
				v += n + (v[n] != 0);
				if (!*v || strlen(v) + sizeof PRELOAD > sizeof user_preload)
					continue;
				strcpy(user_preload, PRELOAD);
				strcat(user_preload, v);
				*to++ = user_preload;
				continue;
			}
		}
		*to++ = *from;
	}
	*to = NULL;
	if (ring_entry[0])
		ring_open(ring_entry + strlen(RING));
}

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
		if (starts(*env, PRELOAD))
			n += strlen(*env);
	return n;
}
static void carry(char *const *env, char **out, char *entry)
{
	const char *user = "";
	size_t n = 0;
	for (; env && *env; env++) {
		if (starts(*env, RING))
			continue;
		if (starts(*env, PRELOAD)) {
			user = *env + strlen(PRELOAD);
			continue;
		}
		out[n++] = *env;
	}
	strcpy(entry, PRELOAD);
	if (!starts(user, lib_path)) {
		strcat(entry, lib_path);
		if (*user)
			strcat(entry, ":");
	}
	strcat(entry, user);
	out[n++] = entry;
	out[n++] = ring_entry;
	out[n] = NULL;
}

#define MOST_ENV 8192 /* entries that are copied to the stack */
#define CARRY(why, env) \
	char *const *env2 = env; \
	size_t env_n = count(env); \
	if (watching() && lib_path[0] && (why) == SEEN) { \
		if (env_n < MOST_ENV) { \
			char **made = alloca((env_n + 3) * sizeof *made); \
			carry(env, made, alloca(preload_room(env))); \
			env2 = made; \
		} else { \
			lost(); \
		} \
	}

/* A run that is about to happen is recorded first: if it does, no one comes
 * back here to do it. A second record with an error takes it back. */
static enum blocked announce(int dir, const char *path)
{
	if (!watching() || !path || RAW(SYS_faccessat, dir, path, X_OK) < 0)
		return SEEN;
	enum blocked why = program_kind(dir, path);
	note_exec(0, why, 0, dir, path);
	return why;
}

/* found writes the file that a search of PATH finds into buf; NULL if there is
 * none. Where it looked before counts as looked for. */
static const char *found(const char *file, char *buf)
{
	if (!file || strchr(file, '/'))
		return file;
	const char *p = REAL(getenv)("PATH");
	size_t n = strlen(file);
	for (p = p ? p : "/bin:/usr/bin";; p++) {
		size_t k = strcspn(p, ":");
		if (k + n + 2 < PATH_MAX) {
			memcpy(buf, p, k);
			if (k)
				buf[k++] = '/';
			memcpy(buf + k, file, n + 1);
			long rc = RAW(SYS_faccessat, AT_FDCWD, buf, X_OK);
			if (rc == 0)
				return buf;
			note_exec((int)-rc, 0, 0, AT_FDCWD, buf);
		}
		p += k ? strcspn(p, ":") : 0;
		if (!*p)
			return NULL;
	}
}

EXPORT pid_t fork(void)
{
	pid_t pid = REAL(fork)();
	if (pid == 0)
		note_text(FORK, 0, "", "", 0);
	return pid;
}
EXPORT int execve(const char *path, char *const argv[], char *const env[])
{
	enum blocked why = announce(AT_FDCWD, path);
	CARRY(why, env)
	int rc = REAL(execve)(path, argv, env2);
	note_exec(errno, 0, 0, AT_FDCWD, path);
	return rc;
}
EXPORT int execv(const char *path, char *const argv[]) { return execve(path, argv, environ); }
EXPORT int execvpe(const char *file, char *const argv[], char *const env[])
{
	char buf[PATH_MAX];
	const char *path = found(file, buf);
	enum blocked why = announce(AT_FDCWD, path);
	CARRY(why, env)
	int rc = REAL(execvpe)(file, argv, env2);
	note_exec(errno, 0, 0, AT_FDCWD, path);
	return rc;
}
EXPORT int execvp(const char *file, char *const argv[]) { return execvpe(file, argv, environ); }
EXPORT int execveat(int dir, const char *path, char *const argv[], char *const env[], int flags)
{
	if (path && !path[0])
		return fexecve(dir, argv, env);
	enum blocked why = announce(dir, path);
	CARRY(why, env)
	int rc = REAL(execveat)(dir, path, argv, env2, flags);
	note_exec(errno, 0, 0, dir, path);
	return rc;
}
EXPORT int fexecve(int fd, char *const argv[], char *const env[])
{
	char path[PATH_MAX] = "", name[32];
	snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
	long n = RAW(SYS_readlinkat, AT_FDCWD, name, path, sizeof path - 1);
	path[n > 0 ? n : 0] = 0;
	enum blocked why = program_kind(AT_FDCWD, name);
	if (n > 0)
		note_exec(0, why, 0, AT_FDCWD, path);
	CARRY(why, env)
	int rc = REAL(fexecve)(fd, argv, env2);
	note_exec(errno, 0, 0, AT_FDCWD, path);
	return rc;
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

/* ---- posix_spawn: the child belongs to libc, so it is recorded from outside ---- */

typedef int spawn_fn(pid_t *, const char *, const posix_spawn_file_actions_t *, const posix_spawnattr_t *, char *const *, char *const *);

static int moved; /* some list of actions changes the folder: relative paths in them are not told */

static int spawn(spawn_fn *call, const char *file, const char *path, pid_t *pid, const posix_spawn_file_actions_t *fa,
		 const posix_spawnattr_t *at, char *const argv[], char *const env[])
{
	pid_t child = 0;
	enum blocked why = watching() ? program_kind(AT_FDCWD, path) : SEEN;
	CARRY(why, env)
	int err = call(&child, file, fa, at, argv, env2);
	if (path)
		note_exec(err, why, child, AT_FDCWD, path);
	if (path && path[0] != '/' && fa && __atomic_load_n(&moved, __ATOMIC_RELAXED))
		lost();
	if (!err && pid)
		*pid = child;
	return err;
}
EXPORT int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *fa, const posix_spawnattr_t *at, char *const argv[], char *const env[])
{
	return spawn(REAL(posix_spawn), path, path, pid, fa, at, argv, env);
}
EXPORT int posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *fa, const posix_spawnattr_t *at, char *const argv[], char *const env[])
{
	char buf[PATH_MAX];
	return spawn(REAL(posix_spawnp), file, found(file, buf), pid, fa, at, argv, env);
}
EXPORT int posix_spawn_file_actions_addopen(posix_spawn_file_actions_t *fa, int fd, const char *path, int flags, mode_t mode)
{
	uint32_t was = existed(AT_FDCWD, path, flags);
	int err = RAW(SYS_faccessat, AT_FDCWD, path, F_OK) < 0 && !(flags & O_CREAT) ? ENOENT : 0;
	note2(OPEN, err, (uint32_t)flags | was, AT_FDCWD, path, AT_FDCWD, NULL);
	if (path[0] != '/' && __atomic_load_n(&moved, __ATOMIC_RELAXED))
		lost();
	return REAL(posix_spawn_file_actions_addopen)(fa, fd, path, flags, mode);
}
EXPORT int posix_spawn_file_actions_addchdir_np(posix_spawn_file_actions_t *fa, const char *path)
{
	__atomic_store_n(&moved, 1, __ATOMIC_RELAXED);
	note2(STAT, RAW(SYS_faccessat, AT_FDCWD, path, F_OK) < 0 ? ENOENT : 0, 0, AT_FDCWD, path, AT_FDCWD, NULL);
	return REAL(posix_spawn_file_actions_addchdir_np)(fa, path);
}

/* ---- libc's own system and popen would hand the child an environment without us ---- */

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

/* Streams of popen that are open; busy marks a place that is being filled. */
static struct stream {
	FILE *file;
	pid_t pid;
} streams[64];
static char busy;

EXPORT FILE *popen(const char *command, const char *type)
{
	int reads = strchr(type, 'r') != NULL, keep = strchr(type, 'e') != NULL, ends[2];
	struct stream *s = streams, *end = streams + sizeof streams / sizeof *streams;
	FILE *none = NULL;
	while (s < end && !__atomic_compare_exchange_n(&s->file, &none, (FILE *)&busy, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		none = NULL, s++;
	if (s == end || reads == (strchr(type, 'w') != NULL)) {
		if (s < end)
			__atomic_store_n(&s->file, NULL, __ATOMIC_SEQ_CST);
		lost(); /* the child of libc's popen runs without us */
		return REAL(popen)(command, type);
	}
	FILE *f = NULL;
	posix_spawn_file_actions_t fa;
	if (pipe2(ends, O_CLOEXEC) == 0) {
		int mine = ends[!reads], theirs = ends[reads];
		char *argv[] = {"sh", "-c", (char *)command, NULL};
		f = fdopen(mine, reads ? "r" : "w");
		posix_spawn_file_actions_init(&fa);
		posix_spawn_file_actions_adddup2(&fa, theirs, reads);
		for (struct stream *t = streams; t < end; t++) {
			FILE *other = __atomic_load_n(&t->file, __ATOMIC_SEQ_CST);
			if (other && other != (FILE *)&busy && fileno(other) != reads)
				posix_spawn_file_actions_addclose(&fa, fileno(other));
		}
		int err = f ? posix_spawn(&s->pid, "/bin/sh", &fa, NULL, argv, environ) : errno;
		posix_spawn_file_actions_destroy(&fa);
		close(theirs);
		if (err) {
			if (f)
				fclose(f);
			else
				close(mine);
			f = NULL;
			errno = err;
		} else if (!keep) {
			fcntl(mine, F_SETFD, 0);
		}
	}
	__atomic_store_n(&s->file, f, __ATOMIC_SEQ_CST);
	return f;
}
EXPORT int pclose(FILE *f)
{
	for (struct stream *s = streams; s < streams + sizeof streams / sizeof *streams; s++) {
		if (__atomic_load_n(&s->file, __ATOMIC_SEQ_CST) != f)
			continue;
		int status;
		pid_t pid = s->pid;
		__atomic_store_n(&s->file, NULL, __ATOMIC_SEQ_CST);
		fclose(f);
		while (waitpid(pid, &status, 0) < 0)
			if (errno != EINTR)
				return -1;
		return status;
	}
	return REAL(pclose)(f);
}

/* It may list folders and run commands, inside libc. */
EXPORT int wordexp(const char *words, wordexp_t *w, int flags)
{
	lost();
	return REAL(wordexp)(words, w, flags);
}
