/* What a machine says of itself: which kernel, host and user it is, and the
 * zone of its clock. Each is recorded by name (facts.go), not by answer. */
#include "observe.h"
#include "names.h"
#include <dlfcn.h>
#include <grp.h>
#include <pwd.h>
#include <sys/utsname.h>
#include <time.h>

static __thread int quiet __attribute__((tls_model("initial-exec")));
static __thread int pardoned __attribute__((tls_model("initial-exec")));
static __thread unsigned long asked __attribute__((tls_model("initial-exec"))); /* how often, but for the zone */

static void note_fact(const char *name)
{
	if (quiet)
		return;
	if (strcmp(name, "zone"))
		asked++;
	note_text(FACT, 0, "", name, strlen(name));
}

/* The calling thread runs code that is known to do nothing with what it asks. */
EXPORT int kedge_observe_quiet(int on)
{
	int was = quiet;
	quiet = on;
	return was;
}

/* Its next uname is for the processor only, which no cell depends on by itself. */
EXPORT void kedge_observe_pardon(int on) { pardoned = on; }

EXPORT unsigned long kedge_observe_asked(void) { return asked; }

EXPORT int uname(struct utsname *u)
{
	if (!pardoned)
		note_fact("system");
	pardoned = 0;
	return REAL(uname)(u);
}

#define ASKS(fact, ret, f, args, ...) \
	EXPORT ret f args \
	{ \
		note_fact(fact); \
		return REAL(f)(__VA_ARGS__); \
	}
ASKS("system", int, gethostname, (char *s, size_t n), s, n)
ASKS("system", int, getdomainname, (char *s, size_t n), s, n)
ASKS("system", long, gethostid, (void))
ASKS("ids", uid_t, getuid, (void))
EXPORT uid_t geteuid(void)
{
	/* SQLite asks, also for IPython's history, and gives files that root makes to whom the database belongs. */
	Dl_info by;
	if (!dladdr(__builtin_return_address(0), &by) || !by.dli_fname || !strstr(by.dli_fname, "sqlite3"))
		note_fact("ids");
	return REAL(geteuid)();
}
ASKS("ids", gid_t, getgid, (void))
ASKS("ids", gid_t, getegid, (void))
ASKS("ids", int, getgroups, (int n, gid_t *g), n, g)
ASKS("ids", int, getresuid, (uid_t *r, uid_t *e, uid_t *s), r, e, s)
ASKS("ids", int, getresgid, (gid_t *r, gid_t *e, gid_t *s), r, e, s)
ASKS("user", char *, getlogin, (void))
ASKS("user", int, getlogin_r, (char *s, size_t n), s, n)
ASKS("user", struct passwd *, getpwuid, (uid_t u), u)
ASKS("user", struct passwd *, getpwnam, (const char *s), s)
ASKS("user", struct passwd *, getpwent, (void))
ASKS("user", int, getpwuid_r, (uid_t u, struct passwd *p, char *b, size_t n, struct passwd **r), u, p, b, n, r)
ASKS("user", int, getpwnam_r, (const char *s, struct passwd *p, char *b, size_t n, struct passwd **r), s, p, b, n, r)
ASKS("user", struct group *, getgrgid, (gid_t g), g)
ASKS("user", struct group *, getgrnam, (const char *s), s)
ASKS("user", struct group *, getgrent, (void))
ASKS("user", int, getgrgid_r, (gid_t g, struct group *p, char *b, size_t n, struct group **r), g, p, b, n, r)
ASKS("user", int, getgrnam_r, (const char *s, struct group *p, char *b, size_t n, struct group **r), s, p, b, n, r)
ASKS("zone", struct tm *, localtime, (const time_t *t), t)
ASKS("zone", struct tm *, localtime_r, (const time_t *t, struct tm *to), t, to)
ASKS("zone", time_t, mktime, (struct tm *t), t)
