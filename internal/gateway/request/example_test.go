package request_test

import (
	"fmt"

	"github.com/seed-2b0d76a6/respool/internal/gateway/request"
)

func Example() {
	var s request.Scanner
	for _, chunk := range []string{"*2\r\n$3\r\nGET\r\n$1\r\na\r\nset 'b' 1\r\n*1\r\n$4\r\nPI", "NG\r\n*x\r\n"} {
		for in := []byte(chunk); ; {
			req, n, err := s.Next(in)
			if err != nil {
				fmt.Println(err)
				return
			}
			in = in[n:]
			if req.Raw == nil {
				break
			}
			fmt.Printf("%q inline=%v\n", req.Args, req.Inline)
		}
	}
	// Output:
	// ["GET" "a"] inline=false
	// ["set" "b" "1"] inline=true
	// ["PING"] inline=false
	// request: protocol error: invalid multibulk length
}

func ExampleScanner_Next_parts() {
	s := request.Scanner{Limits: request.Limits{Stream: 64}}
	in := []byte("*5\r\n$3\r\nSET\r\n$1\r\na\r\n$64\r\n" + fmt.Sprintf("%064d", 1) + "\r\n$2\r\nEX\r\n$2\r\n60\r\n")
	for _, chunk := range [][]byte{in[:60], in[60:]} {
		for {
			req, n, err := s.Next(chunk)
			if err != nil || req.Raw == nil {
				break
			}
			chunk = chunk[n:]
			fmt.Printf("%v: %q of %d, %d bytes\n", req.Part, req.Args, req.Count, len(req.Raw))
		}
	}
	// Output:
	// First: ["SET" "a"] of 5, 25 bytes
	// Middle: [] of 0, 35 bytes
	// Last: [] of 0, 47 bytes
}
