package main

import (
	"bytes"
	"net"
)

// get is the command of all clients, and reply the reply to it.
var (
	get   = []byte("*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n")
	reply = []byte("$64\r\n" + string(bytes.Repeat([]byte("v"), 64)) + "\r\n")
)

// startFake starts a server that answers each command with the same reply. It tells commands by their array headers.
func startFake() (net.Listener, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // closed
			}
			go answer(conn)
		}
	}()
	return l, nil
}

// mostReplies is the number of replies in one write.
const mostReplies = 4096

func answer(conn net.Conn) {
	defer conn.Close()
	replies := bytes.Repeat(reply, mostReplies)
	in := make([]byte, mostReplies*len(get))
	for {
		n, err := conn.Read(in)
		if err != nil {
			return
		}
		if _, err := conn.Write(replies[:bytes.Count(in[:n], []byte("*"))*len(reply)]); err != nil {
			return
		}
	}
}
