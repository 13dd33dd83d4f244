package main

import (
	"bytes"
	"fmt"
	"net"
	"strings"
	"testing"
)

// Text of a server cannot control the terminal.
func TestForeignTextIsHarmless(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go refuse(c)
		}
	}()
	for _, command := range []string{"ping", "doctor", "who", "kill --service x", "top", "plan --rps 1 --mean 1ms --from"} {
		code, out, errs := call(t, append(strings.Fields(command), "redis://"+l.Addr().String()+"?protocol=2&client_name=x&timeout=0.1")...)
		if code != 2 || strings.ContainsAny(out+errs, "\x1b\x07\u009b") || strings.Count(errs, "\n") != 1 || !strings.Contains(errs, "mine") {
			t.Errorf("%s: exit %d: %q%q", command, code, out, errs)
		}
	}
}

// refuse answers every command with an error that would name the window and color the text.
func refuse(c net.Conn) {
	defer c.Close()
	buf := make([]byte, 4096)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		for range bytes.Count(buf[:n], []byte("*")) { // commands
			fmt.Fprint(c, "-MASTERDOWN no\x1b]0;mine\x07\u009b31m\r\n")
		}
	}
}
