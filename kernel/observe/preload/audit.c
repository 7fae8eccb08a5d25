/*
 * What the interpreter says of itself that bears on names: an audit hook of CPython (PEP 578) that costs a
 * comparison for the events that nobody asked for, where one written in Python would cost a call.
 */
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

typedef void audit_callback(const char *event, void *args); /* args is a borrowed PyObject * */

static audit_callback *callback;

/* Frames of others are looked at, a class is looked up by a pickle, text is compiled: these go to callback. */
EXPORT int kedge_audit(const char *event, void *args, void *user_data)
{
	(void)user_data;
	if (callback != NULL && (strcmp(event, "sys._getframe") == 0 || strcmp(event, "pickle.find_class") == 0 ||
				 strcmp(event, "compile") == 0))
		callback(event, args);
	return 0;
}

/* Called with the GIL held, before PySys_AddAuditHook(kedge_audit, NULL); NULL stops it. */
EXPORT void kedge_audit_to(audit_callback *to) { callback = to; }
