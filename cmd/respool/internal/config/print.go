package config

import (
	"fmt"
	"io"

	"go.yaml.in/yaml/v4"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/credentials"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/yamlnode"
)

// Print writes the effective configuration of respool serve: the file, its profile, the flags and
// the defaults. Except for hidden secrets, it is a configuration with the same effect.
func (s *Serve) Print(w io.Writer) error {
	c := *s
	c.Gateway = c.Gateway.WithDefaults()
	c.url, c.source = "", credentials.Source{} // they are those of the watch
	server := ""
	if c.Embedded {
		server = "# There is no url: respool serve runs an embedded server.\n"
	}
	return printFields(w, server, c.Watch.fields(&c))
}

// Print writes the effective configuration of respool watch, as that of Serve.
func (s *Watch) Print(w io.Writer) error {
	fields := s.fields(new(Serve))
	delete(fields, "serve")
	return printFields(w, "", fields)
}

func printFields(w io.Writer, comment string, fields yamlnode.Fields) error {
	text, err := yaml.Marshal(fields.Values())
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "# The effective configuration. %s stands for a secret.\n%s%s", yamlnode.Hidden, comment, text)
	return err
}
