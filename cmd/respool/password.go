package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/input"
)

type passwordCmd struct{}

func (passwordCmd) Help() string {
	return `Reads a password from the terminal, without echo, or one line of standard input. Prints its
SHA-256 in hex, for password_sha256 in the configuration of respool serve. Keep the hash secret:
short passwords can be found from it by brute force.

Examples:
  respool password
  openssl rand -base64 24 | tee secret | respool password`
}

func (passwordCmd) Run() error {
	password, err := input.Password()
	if err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(password))
	fmt.Println(hex.EncodeToString(sum[:]))
	return nil
}
