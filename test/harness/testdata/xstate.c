/* Preloaded into linux.uml. User-Mode Linux 6.1 keeps a guest's FPU state in a
 * buffer of fixed size; on CPUs with AMX the kernel's XSTATE area is larger,
 * PTRACE_SETREGSET with the short buffer fails and the guest's init dies. This
 * gives the kernel an area of its full size, without the AMX parts. */
#define _GNU_SOURCE
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define XSTATE_SET 0x202L             /* NT_X86_XSTATE */
#define AMX_COMPONENTS (3UL << 17)    /* TILECFG and TILEDATA in XSTATE_BV */
#define XSTATE_BV 512                 /* its offset in the area */

static char whole[16384] __attribute__((aligned(64)));
static size_t whole_len;

static long kernel(long req, long pid, long addr, void *data)
{
	return syscall(SYS_ptrace, req, pid, addr, data);
}

static long read_state(long pid, struct iovec *out)
{
	struct iovec v = { whole, sizeof whole };
	long rc = kernel(PTRACE_GETREGSET, pid, XSTATE_SET, &v);

	if (rc < 0)
		return rc;
	whole_len = v.iov_len;
	if (out->iov_len > whole_len)
		out->iov_len = whole_len;
	memcpy(out->iov_base, whole, out->iov_len);
	return rc;
}

static long write_state(long pid, const struct iovec *in)
{
	struct iovec v = { whole, sizeof whole };
	size_t n = in->iov_len;

	if (!whole_len && kernel(PTRACE_GETREGSET, pid, XSTATE_SET, &v) == 0)
		whole_len = v.iov_len;
	if (n > whole_len)
		n = whole_len;
	memset(whole, 0, whole_len);
	memcpy(whole, in->iov_base, n);
	*(unsigned long *)(whole + XSTATE_BV) &= ~AMX_COMPONENTS;
	v.iov_base = whole;
	v.iov_len = whole_len;
	return kernel(PTRACE_SETREGSET, pid, XSTATE_SET, &v);
}

long ptrace(enum __ptrace_request req, ...)
{
	va_list ap;
	pid_t pid;
	void *addr, *data;
	long word, rc;

	va_start(ap, req);
	pid = va_arg(ap, pid_t);
	addr = va_arg(ap, void *);
	data = va_arg(ap, void *);
	va_end(ap);
	switch (req) {
	case PTRACE_PEEKTEXT:
	case PTRACE_PEEKDATA:
	case PTRACE_PEEKUSER: /* the C library returns the word */
		rc = kernel(req, pid, (long)addr, &word);
		return rc < 0 ? rc : word;
	case PTRACE_GETREGSET:
		if ((long)addr == XSTATE_SET)
			return read_state(pid, data);
		break;
	case PTRACE_SETREGSET:
		if ((long)addr == XSTATE_SET)
			return write_state(pid, data);
		break;
	default:
		break;
	}
	return kernel(req, pid, (long)addr, data);
}
