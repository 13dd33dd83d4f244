package input

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// Password asks for a new password at the terminal, or reads one line of
// standard input if that is no terminal.
func Password() (string, error) {
	read := func() (string, error) { return readLine(os.Stdin) }
	if term.IsTerminal(int(os.Stdin.Fd())) {
		read = askTwice
	}
	password, err := read()
	if err == nil && password == "" {
		err = errors.New("an empty password: want one that nobody can guess")
	}
	return password, err
}

// MaxPassword is the maximum length of a password, in bytes.
const MaxPassword = 64 << 10

// readLine reads one line. The last line may lack its newline.
func readLine(in io.Reader) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(in, MaxPassword+1)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	if len(line) > MaxPassword {
		return "", fmt.Errorf("a password of more than %d bytes: want a shorter one", MaxPassword)
	}
	return strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r"), nil
}

// askTwice asks at the terminal, without echo.
func askTwice() (string, error) {
	ask := func(prompt string) (string, error) {
		fmt.Fprint(os.Stderr, prompt)
		text, err := term.ReadPassword(int(os.Stdin.Fd()))
		fmt.Fprintln(os.Stderr)
		return string(text), err
	}
	first, err := ask("Password: ")
	if err != nil {
		return "", err
	}
	second, err := ask("Again: ")
	if err == nil && first != second {
		err = errors.New("the two passwords differ: want the same one twice")
	}
	return first, err
}
