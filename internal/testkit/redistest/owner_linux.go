package redistest

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// owned reports whether the socket from one IPv4 address to another belongs to one of the processes.
// known is false if that is unknown. Both addresses are needed, since sockets to several servers may
// share a local port.
func owned(from, to string, pids []int) (mine, known bool) {
	local, ok := kernelAddr(from)
	remote, ok2 := kernelAddr(to)
	if !ok || !ok2 {
		return false, false
	}
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return false, false
	}
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line)
		if len(f) > 9 && f[1] == local && f[2] == remote && f[9] != "0" {
			return holds(pids, "socket:["+f[9]+"]"), true
		}
	}
	return false, false // the client has closed the socket
}

// kernelAddr formats an address like /proc/net/tcp.
func kernelAddr(addr string) (text string, ok bool) {
	host, port, _ := strings.Cut(addr, ":")
	n, err := strconv.Atoi(port)
	var a, b, c, d byte
	_, serr := fmt.Sscanf(host, "%d.%d.%d.%d", &a, &b, &c, &d)
	return fmt.Sprintf("%02X%02X%02X%02X:%04X", d, c, b, a, n), err == nil && serr == nil
}

// holds reports whether one of the processes has the file open.
func holds(pids []int, file string) bool {
	for _, pid := range pids {
		fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		for _, fd := range fds {
			if target, err := os.Readlink(fd); err == nil && target == file {
				return true
			}
		}
	}
	return false
}
