package redistest

import "syscall"

// orphanless makes a server end with its test, however that ends.
func orphanless() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
