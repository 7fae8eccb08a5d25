/* Connecting: sockets, names of hosts, and memory or queues shared by a key. */
#include "observe.h"
#include "names.h"
#include <arpa/inet.h>
#include <mqueue.h>
#include <netdb.h>
#include <netinet/in.h>
#include <resolv.h>
#include <stdarg.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/un.h>

static size_t number(char *to, unsigned long v, int base)
{
	char digits[24];
	size_t n = 0, at = 0;
	do
		digits[n++] = "0123456789abcdef"[v % base];
	while (v /= base);
	while (n)
		to[at++] = digits[--n];
	return at;
}

/* peer_text writes unix:PATH, inet:A.B.C.D:PORT, inet6:[HEX]:PORT or other. */
static size_t peer_text(const struct sockaddr *a, socklen_t len, char *s)
{
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
		return 5 + k;
	}
	if (a->sa_family == AF_INET && len >= sizeof(struct sockaddr_in)) {
		const struct sockaddr_in *i = (const struct sockaddr_in *)a;
		const unsigned char *b = (const unsigned char *)&i->sin_addr;
		size_t n = 5;
		memcpy(s, "inet:", 5);
		for (int k = 0; k < 4; k++) {
			n += number(s + n, b[k], 10);
			s[n++] = k < 3 ? '.' : ':';
		}
		return n + number(s + n, ntohs(i->sin_port), 10);
	}
	if (a->sa_family == AF_INET6 && len >= sizeof(struct sockaddr_in6)) {
		const struct sockaddr_in6 *i = (const struct sockaddr_in6 *)a;
		const unsigned char *b = (const unsigned char *)&i->sin6_addr;
		size_t n = 7;
		memcpy(s, "inet6:[", 7);
		for (int k = 0; k < 16; k += 2) {
			n += number(s + n, (unsigned)b[k] << 8 | b[k + 1], 16);
			s[n++] = k < 14 ? ':' : ']';
		}
		s[n++] = ':';
		return n + number(s + n, ntohs(i->sin6_port), 10);
	}
	memcpy(s, "other", 5);
	return 5;
}

static void note_peer(enum op op, int err, const struct sockaddr *a, socklen_t len)
{
	char s[160];
	if (watching() && a && len >= sizeof(sa_family_t) && err != EFAULT && a->sa_family != AF_UNSPEC)
		note_text(op, err, "", s, peer_text(a, len, s));
}

/* Neighbours of a socket: the other end, or the address that bind chose. */
static void note_end(enum op op, long call, int fd)
{
	struct sockaddr_storage a;
	socklen_t len = sizeof a;
	if (watching() && RAW(call, fd, &a, &len) == 0)
		note_peer(op, 0, (struct sockaddr *)&a, len);
}

static int connected(int fd, const struct sockaddr *a, socklen_t len)
{
	int rc = REAL(connect)(fd, a, len);
	note_peer(CONNECT, rc < 0 ? errno : 0, a, len);
	return rc;
}
EXPORT int connect(int fd, const struct sockaddr *a, socklen_t len) { return connected(fd, a, len); }
EXPORT int __connect(int fd, const struct sockaddr *a, socklen_t len) { return connected(fd, a, len); }
EXPORT ssize_t sendto(int fd, const void *b, size_t n, int fl, const struct sockaddr *a, socklen_t len)
{
	ssize_t rc = REAL(sendto)(fd, b, n, fl, a, len);
	note_peer(CONNECT, rc < 0 ? errno : 0, a, len);
	return rc;
}
EXPORT ssize_t sendmsg(int fd, const struct msghdr *m, int fl)
{
	ssize_t rc = REAL(sendmsg)(fd, m, fl);
	if (rc >= 0)
		note_peer(CONNECT, 0, m->msg_name, m->msg_namelen);
	return rc;
}
EXPORT int sendmmsg(int fd, struct mmsghdr *m, unsigned n, int fl)
{
	int rc = REAL(sendmmsg)(fd, m, n, fl);
	for (int i = 0; i < rc; i++)
		note_peer(CONNECT, 0, m[i].msg_hdr.msg_name, m[i].msg_hdr.msg_namelen);
	return rc;
}
EXPORT int bind(int fd, const struct sockaddr *a, socklen_t len)
{
	int rc = REAL(bind)(fd, a, len);
	if (rc == 0)
		note_end(BIND, SYS_getsockname, fd);
	return rc;
}
EXPORT int accept(int fd, struct sockaddr *a, socklen_t *len)
{
	int rc = REAL(accept)(fd, a, len);
	if (rc >= 0)
		note_end(ACCEPT, SYS_getsockname, rc);
	return rc;
}
EXPORT int accept4(int fd, struct sockaddr *a, socklen_t *len, int fl)
{
	int rc = REAL(accept4)(fd, a, len, fl);
	if (rc >= 0)
		note_end(ACCEPT, SYS_getsockname, rc);
	return rc;
}

/* ---- names ---- */

static void note_name(const char *name)
{
	if (name)
		note_text(CONNECT, 0, "name:", name, strnlen(name, 256));
}
EXPORT int getaddrinfo(const char *host, const char *port, const struct addrinfo *hint, struct addrinfo **out)
{
	if (!(hint && hint->ai_flags & AI_NUMERICHOST))
		note_name(host);
	return REAL(getaddrinfo)(host, port, hint, out);
}
EXPORT int getnameinfo(const struct sockaddr *a, socklen_t n, char *h, socklen_t hn, char *s, socklen_t sn, int fl)
{
	if (h && !(fl & NI_NUMERICHOST))
		note_peer(CONNECT, 0, a, n);
	return REAL(getnameinfo)(a, n, h, hn, s, sn, fl);
}
#define NAMED(ret, f, args, ...) \
	EXPORT ret f args \
	{ \
		note_name(name); \
		return REAL(f)(__VA_ARGS__); \
	}
NAMED(struct hostent *, gethostbyname, (const char *name), name)
NAMED(struct hostent *, gethostbyname2, (const char *name, int f), name, f)
NAMED(int, gethostbyname_r, (const char *name, struct hostent *h, char *b, size_t n, struct hostent **r, int *e), name, h, b, n, r, e)
NAMED(int, gethostbyname2_r, (const char *name, int f, struct hostent *h, char *b, size_t n, struct hostent **r, int *e), name, f, h, b, n, r, e)
NAMED(int, res_query, (const char *name, int c, int t, unsigned char *b, int n), name, c, t, b, n)
NAMED(int, res_search, (const char *name, int c, int t, unsigned char *b, int n), name, c, t, b, n)
#define BY_ADDRESS(ret, f, args, ...) \
	EXPORT ret f args \
	{ \
		note_text(CONNECT, 0, "name:", "address", 7); \
		return REAL(f)(__VA_ARGS__); \
	}
BY_ADDRESS(struct hostent *, gethostbyaddr, (const void *a, socklen_t n, int f), a, n, f)
BY_ADDRESS(int, gethostbyaddr_r, (const void *a, socklen_t n, int f, struct hostent *h, char *b, size_t k, struct hostent **r, int *e), a, n, f, h, b, k, r, e)

/* ---- by key ---- */

EXPORT mqd_t mq_open(const char *name, int flags, ...)
{
	va_list ap;
	va_start(ap, flags);
	mode_t mode = flags & O_CREAT ? va_arg(ap, mode_t) : 0;
	struct mq_attr *attr = flags & O_CREAT ? va_arg(ap, struct mq_attr *) : NULL;
	va_end(ap);
	note_text(CONNECT, 0, "queue:", name, strnlen(name, 256));
	return REAL(mq_open)(name, flags, mode, attr);
}
EXPORT mqd_t __mq_open_2(const char *name, int flags)
{
	note_text(CONNECT, 0, "queue:", name, strnlen(name, 256));
	return REAL(mq_open)(name, flags);
}
EXPORT int mq_unlink(const char *name)
{
	note_text(CONNECT, 0, "queue:", name, strnlen(name, 256));
	return REAL(mq_unlink)(name);
}
EXPORT int shmget(key_t key, size_t n, int fl)
{
	char s[24];
	if (key != IPC_PRIVATE)
		note_text(CONNECT, 0, "shared memory:", s, number(s, (unsigned)key, 16));
	return REAL(shmget)(key, n, fl);
}
