package resp_test

import (
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool/resp"
)

const readSize = 32 << 10

var benchFrames = []struct{ name, frame string }{
	{"ok", "+OK\r\n"},
	{"integer", ":1\r\n"},
	{"bulk64", "$64\r\n" + strings.Repeat("x", 64) + "\r\n"},
	{"bulk1k", "$1024\r\n" + strings.Repeat("x", 1024) + "\r\n"},
	{"array10", "*10\r\n" + strings.Repeat("$16\r\n0123456789abcdef\r\n", 10)},
	{"nested", "*2\r\n*2\r\n$1\r\na\r\n:1\r\n%1\r\n+k\r\n*2\r\n,1.5\r\n_\r\n"},
}

// BenchmarkScanner scans reads full of frames, the last of them cut: one operation is a frame.
func BenchmarkScanner(b *testing.B) {
	for _, c := range benchFrames {
		for _, limit := range []int64{0, 512 << 20} {
			name := c.name
			if limit > 0 {
				name += "/limit"
			}
			b.Run(name, func(b *testing.B) {
				stream := []byte(strings.Repeat(c.frame, readSize/len(c.frame)+1))[:readSize]
				stream = append(stream, c.frame[readSize%len(c.frame):]...)
				s := resp.Scanner{Limit: limit}
				b.SetBytes(int64(len(c.frame)))
				b.ReportAllocs()
				b.ResetTimer()
				read := stream[:readSize]
				for i := 0; i < b.N; {
					n, done, err := s.Scan(read)
					switch read = read[n:]; {
					case err != nil:
						b.Fatal(err)
					case done:
						i++
					case len(read) == 0:
						read = stream[readSize:]
					}
					if done && len(read) == 0 {
						read = stream[:readSize]
					}
				}
			})
		}
	}
}

func BenchmarkReadHead(b *testing.B) {
	for _, c := range benchFrames {
		b.Run(c.name, func(b *testing.B) {
			frame := []byte(c.frame)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := resp.ReadHead(frame); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	for _, c := range benchFrames {
		b.Run(c.name, func(b *testing.B) {
			frame := []byte(c.frame)
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := resp.Decode(frame); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkElements(b *testing.B) {
	frame := []byte(benchFrames[4].frame)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := resp.Elements(frame); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendCommand(b *testing.B) {
	dst := make([]byte, 0, 1<<10)
	key, value := strings.Repeat("k", 16), []byte(strings.Repeat("v", 64))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := resp.AppendCommand(dst, []any{"SET", key, value, "EX", 60}); err != nil {
			b.Fatal(err)
		}
	}
}
