package process

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Find returns the processes of the connections that begin on this machine. own is the connection of
// the caller to the same server. If the server sees it at another address than this machine, there
// is a proxy or a tunnel between them, and Find returns nothing.
func Find(own Socket, sockets []Socket) map[Socket]Process {
	inodes := readSockets()
	if inodes[own] == 0 {
		return nil
	}
	serverHere := inodes[own.reverse()] != 0
	wanted := map[string]Socket{} // by the text of a file descriptor
	for _, s := range sockets {
		if s.Client.Addr().IsLoopback() && !serverHere {
			continue // an address of the server's machine
		}
		if inode := inodes[s]; inode != 0 {
			wanted["socket:["+strconv.FormatUint(inode, 10)+"]"] = s
		}
	}
	found := map[Socket]Process{}
	if len(wanted) == 0 {
		return found
	}
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			continue
		}
		searchProcess(pid, dir, wanted, found)
		if len(wanted) == 0 {
			break
		}
	}
	return found
}

// searchProcess moves the sockets of a process from wanted to found. It finds none in the processes
// of other users, unless it runs as root.
func searchProcess(pid int, dir string, wanted map[string]Socket, found map[Socket]Process) {
	fds, err := os.ReadDir(filepath.Join(dir, "fd"))
	if err != nil {
		return
	}
	p := Process{PID: pid}
	for _, fd := range fds {
		target, err := os.Readlink(filepath.Join(dir, "fd", fd.Name()))
		if err != nil {
			continue
		}
		s, ok := wanted[target]
		if !ok {
			continue
		}
		if p.Program == "" {
			p.Program = programName(dir)
		}
		delete(wanted, target)
		found[s] = p
	}
}

func programName(dir string) string {
	text, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
	if name := programOf(strings.Split(strings.TrimRight(string(text), "\x00"), "\x00")); name != "" {
		return name
	}
	name, _ := os.ReadFile(filepath.Join(dir, "comm"))
	return strings.TrimSpace(string(name)) + "?"
}

// readSockets reads the established TCP connections of this machine.
func readSockets() map[Socket]uint64 {
	inodes := map[Socket]uint64{}
	for _, name := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		f, err := os.Open(name)
		if err != nil {
			continue
		}
		for lines := bufio.NewScanner(f); lines.Scan(); {
			fields := strings.Fields(lines.Text())
			if len(fields) < 10 {
				continue
			}
			local, ok1 := parseHex(fields[1])
			remote, ok2 := parseHex(fields[2])
			inode, err := strconv.ParseUint(fields[9], 10, 64)
			if ok1 && ok2 && err == nil && inode != 0 {
				inodes[Socket{local, remote}] = inode
			}
		}
		f.Close()
	}
	return inodes
}

// parseHex reads an address of /proc/net/tcp: words in the machine's byte order, and a port.
func parseHex(text string) (netip.AddrPort, bool) {
	host, port, _ := strings.Cut(text, ":")
	number, err := strconv.ParseUint(port, 16, 16)
	raw, err2 := hex.DecodeString(host)
	if err != nil || err2 != nil || len(raw)%4 != 0 {
		return netip.AddrPort{}, false
	}
	for i := 0; i < len(raw); i += 4 {
		binary.NativeEndian.PutUint32(raw[i:], binary.BigEndian.Uint32(raw[i:]))
	}
	addr, ok := netip.AddrFromSlice(raw)
	return plain(netip.AddrPortFrom(addr, uint16(number))), ok
}
