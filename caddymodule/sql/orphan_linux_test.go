package sql_test

import "syscall"

// endWithUs has the kernel end a server when this process does: also when the
// test's time is over, and nobody cleans up.
func endWithUs(attributes *syscall.SysProcAttr) { attributes.Pdeathsig = syscall.SIGQUIT }
