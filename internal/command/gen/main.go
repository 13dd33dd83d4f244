// Command gen writes the table of package command from commands.json.
package main

import (
	"fmt"
	"log"
	"os"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("gen: ")
	if err := run("commands.json", "table_gen.go"); err != nil {
		log.Fatal(err)
	}
}

func run(input, output string) error {
	data, err := os.ReadFile(input)
	if err != nil {
		return fmt.Errorf("read the commands: %w", err)
	}
	source, err := generate(data)
	if err != nil {
		return err
	}
	if err := os.WriteFile(output, source, 0o644); err != nil {
		return fmt.Errorf("write the table: %w", err)
	}
	return nil
}
