package resp_test

import (
	"fmt"

	"github.com/seed-2b0d76a6/respool/resp"
)

func ExampleScanner() {
	var s resp.Scanner
	for _, read := range []string{"+OK\r\n$5\r\nhe", "llo\r\n:1\r\n"} {
		for b := []byte(read); len(b) > 0; {
			n, done, err := s.Scan(b)
			if err != nil {
				fmt.Println(err)
				return
			}
			fmt.Printf("%q done=%v need=%d\n", b[:n], done, s.Need())
			b = b[n:]
		}
	}
	// Output:
	// "+OK\r\n" done=true need=0
	// "$5\r\nhe" done=false need=5
	// "llo\r\n" done=true need=0
	// ":1\r\n" done=true need=0
}

func ExampleAppendCommand() {
	b, err := resp.AppendCommand(nil, []any{"SET", "k", 1.5, "EX", 60})
	fmt.Printf("%q %v\n", b, err)
	// Output: "*5\r\n$3\r\nSET\r\n$1\r\nk\r\n$3\r\n1.5\r\n$2\r\nEX\r\n$2\r\n60\r\n" <nil>
}

func ExampleDecode() {
	v, n, err := resp.Decode([]byte("%1\r\n+hits\r\n:3\r\nnext"))
	fmt.Println(v.Kind, string(v.Elems[0].Str), v.Elems[1].Int, n, err)
	// Output: map hits 3 15 <nil>
}
