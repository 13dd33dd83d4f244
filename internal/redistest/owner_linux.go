package redistest

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// owned reports whether the socket with the local address addr, an IPv4 one, belongs to one of the
// processes, and whether that could be told.
func owned(addr string, pids []int) (mine, known bool) {
	host, port, _ := strings.Cut(addr, ":")
	n, err := strconv.Atoi(port)
	var a, b, c, d byte
	if _, serr := fmt.Sscanf(host, "%d.%d.%d.%d", &a, &b, &c, &d); serr != nil || err != nil {
		return false, false
	}
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return false, false
	}
	local := fmt.Sprintf("%02X%02X%02X%02X:%04X", d, c, b, a, n) // in the kernel's byte order
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line)
		if len(f) > 9 && f[1] == local && f[9] != "0" {
			return holds(pids, "socket:["+f[9]+"]"), true
		}
	}
	return false, false // closed on its side already
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
