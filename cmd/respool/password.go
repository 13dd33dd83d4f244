package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

type passwordCmd struct{}

func (passwordCmd) Help() string {
	return `Reads a password, from the terminal without showing it or else one line of the standard input,
and prints its SHA-256 in hex, as password_sha256 in the configuration of respool serve wants it.
A hash is no secret to be careless with: short passwords can be found from it by trying.

Examples:
  respool password
  openssl rand -base64 24 | tee secret | respool password`
}

func (passwordCmd) Run() error {
	read := func() (string, error) { return readLine(os.Stdin) }
	if term.IsTerminal(int(os.Stdin.Fd())) {
		read = askTwice
	}
	password, err := read()
	if err != nil {
		return err
	}
	if password == "" {
		return errors.New("an empty password: want one that nobody guesses")
	}
	sum := sha256.Sum256([]byte(password))
	fmt.Println(hex.EncodeToString(sum[:]))
	return nil
}

// mostPassword bounds a password, in bytes.
const mostPassword = 64 << 10

// readLine reads up to the end of a line, which may be missing.
func readLine(in io.Reader) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(in, mostPassword+1)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	if len(line) > mostPassword {
		return "", fmt.Errorf("a password of more than %d bytes: want a shorter one", mostPassword)
	}
	return strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r"), nil
}

// askTwice asks at the terminal.
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
		err = errors.New("these are two passwords: want the same one twice")
	}
	return first, err
}
