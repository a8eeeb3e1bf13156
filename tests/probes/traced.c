/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Asks to be traced by its parent, which traces nothing, and stops its first
 * thread; a second thread goes on, and says so on standard output. */
#include <pthread.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <unistd.h>

static int stopping;

static void *go_on(void *unused)
{
	(void)unused;
	while (!__atomic_load_n(&stopping, __ATOMIC_ACQUIRE))
		usleep(1000);
	usleep(100000);
	write(1, "alive\n", 6);
	for (;;)
		pause();
	return 0;
}

int main(void)
{
	pthread_t thread;

	pthread_create(&thread, 0, go_on, 0);
	if (ptrace(PTRACE_TRACEME, 0, 0, 0))
		return 1;
	__atomic_store_n(&stopping, 1, __ATOMIC_RELEASE);
	syscall(SYS_tgkill, getpid(), getpid(), SIGSTOP);
	return 2;
}
