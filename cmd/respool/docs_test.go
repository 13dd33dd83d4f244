package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	docsLine  = regexp.MustCompile(`(?m)^    (?:\$ )?(?:respool|go run \./cmd/respool) ([a-z].*)$`)
	docsWord  = regexp.MustCompile(`'[^']*'|[^\s']+`)
	docsEnd   = regexp.MustCompile(`^(#|>|\||;|&&)`)
	inlineUse = regexp.MustCompile("`respool ([a-z]+)[^`]*`")
)

// Each command line in the documents has flags and arguments that exist.
func TestTheCommandLinesOfTheDocsAreValid(t *testing.T) {
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	lines, names := 0, map[string]bool{}
	for _, file := range append(files, "../../README.md", "../../CONTRIBUTING.md") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range docsLine.FindAllStringSubmatch(string(text), -1) {
			for _, args := range commandLines(line[1]) {
				lines++
				if err := parse(args); err != nil {
					t.Errorf("%s: respool %s: %v", file, line[1], err)
				}
			}
		}
		for _, use := range inlineUse.FindAllStringSubmatch(string(text), -1) {
			names[use[1]] = true
		}
	}
	if lines < 20 || len(names) < 10 {
		t.Errorf("the docs have %d command lines and name %d commands: want more", lines, len(names))
	}
	var c cli
	parser, err := newParser(&c, func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range parser.Model.Children {
		delete(names, command.Name)
	}
	for name := range names {
		t.Errorf("the docs name the command respool %s, which does not exist", name)
	}
}

// parse parses a command line without running it.
func parse(args []string) error {
	var c cli
	exited := false
	parser, err := newParser(&c, func(int) { exited = true })
	if err != nil {
		return err
	}
	if _, err = parser.Parse(args); err == nil && exited {
		return fmt.Errorf("it prints a help text")
	}
	return err
}

// commandLines splits a line into the arguments of its commands: "rules; respool dashboard" has
// two.
func commandLines(line string) (list [][]string) {
	args, within := []string{}, true
	for _, word := range docsWord.FindAllString(line, -1) {
		switch {
		case word == "respool" && !within:
			args, within = []string{}, true
		case docsEnd.MatchString(word):
			if within {
				list = append(list, args)
			}
			if within = false; word == "#" {
				return list
			}
		case within && strings.HasSuffix(word, ";"):
			list, within = append(list, append(args, strings.TrimSuffix(word, ";"))), false
		case within:
			args = append(args, strings.Trim(word, "'"))
		}
	}
	if within {
		list = append(list, args)
	}
	return list
}
