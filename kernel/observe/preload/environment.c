/* The environment as native code reads and changes it, by name. */
#include "observe.h"
#include "names.h"
#include <stdlib.h>

static void note_variable(enum op op, const char *name)
{
	if (watching() && name)
		note_text(op, 0, "", name, strcspn(name, "="));
}

EXPORT char *getenv(const char *name)
{
	note_variable(GETENV, name);
	return REAL(getenv)(name);
}
EXPORT char *secure_getenv(const char *name)
{
	note_variable(GETENV, name);
	return REAL(secure_getenv)(name);
}
EXPORT char *__secure_getenv(const char *name) { return secure_getenv(name); }
EXPORT int setenv(const char *name, const char *value, int replace)
{
	note_variable(replace ? SETENV : GETENV, name);
	return REAL(setenv)(name, value, replace);
}
EXPORT int unsetenv(const char *name)
{
	note_variable(SETENV, name);
	return REAL(unsetenv)(name);
}
EXPORT int putenv(char *entry)
{
	note_variable(SETENV, entry);
	return REAL(putenv)(entry);
}
EXPORT int clearenv(void)
{
	note_text(SETENV, 0, "", "*", 1);
	return REAL(clearenv)();
}
