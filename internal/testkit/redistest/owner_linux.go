package redistest

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"
)

// owned reports whether the socket from one IPv4 address to another belongs to one of the processes.
// known is false if that is unknown. Both addresses are needed, since sockets to several servers may
// share a local port.
func owned(from, to string, pids []int) (mine, known bool) {
	inode := socketInode(from, to)
	if inode == 0 {
		return false, false // the client has closed the socket
	}
	return holds(pids, fmt.Sprintf("socket:[%d]", inode)), true
}

// The parts of a message of sock_diag(7).
const (
	netlinkSockDiag  = 4
	sockDiagByFamily = 20
	headerSize       = 16 // nlmsghdr
	requestSize      = 56 // inet_diag_req_v2
	inodeOffset      = headerSize + 4 + 48 + 16
)

// socketInode asks the kernel for the inode of a TCP socket: one lookup, unlike /proc/net/tcp, which
// lists all sockets of the machine. It returns 0 if there is no such socket.
func socketInode(from, to string) uint32 {
	local, err := netip.ParseAddrPort(from)
	remote, err2 := netip.ParseAddrPort(to)
	if err != nil || err2 != nil || !local.Addr().Is4() || !remote.Addr().Is4() {
		return 0
	}
	fd, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, netlinkSockDiag)
	if err != nil {
		return 0
	}
	defer syscall.Close(fd)
	if err := syscall.Sendto(fd, diagRequest(local, remote), 0, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK}); err != nil {
		return 0
	}
	reply := make([]byte, 4096)
	n, _, err := syscall.Recvfrom(fd, reply, 0)
	if err != nil || n < inodeOffset+4 || binary.NativeEndian.Uint16(reply[4:]) != sockDiagByFamily {
		return 0
	}
	return binary.NativeEndian.Uint32(reply[inodeOffset:])
}

// diagRequest asks for the socket with these addresses.
func diagRequest(local, remote netip.AddrPort) []byte {
	b := make([]byte, headerSize+requestSize)
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	binary.NativeEndian.PutUint16(b[4:], sockDiagByFamily)
	binary.NativeEndian.PutUint16(b[6:], syscall.NLM_F_REQUEST)
	request := b[headerSize:]
	request[0], request[1] = syscall.AF_INET, syscall.IPPROTO_TCP
	binary.NativeEndian.PutUint32(request[4:], ^uint32(0)) // any state
	id := request[8:]
	binary.BigEndian.PutUint16(id, local.Port())
	binary.BigEndian.PutUint16(id[2:], remote.Port())
	copy(id[4:], local.Addr().AsSlice())
	copy(id[20:], remote.Addr().AsSlice())
	binary.NativeEndian.PutUint64(id[40:], ^uint64(0)) // no cookie
	return b
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
