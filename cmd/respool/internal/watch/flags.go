package watch

import (
	"errors"
	"fmt"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/config"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/credentials"
)

// Flags are the command line of a watch.
type Flags struct {
	Credentials string
	URL         string
	Config      string // a file
	Profile     string
	Listen      string // off: nowhere
	Socket      string // of respool kill; empty: as configured
}

// Read reads the configuration and applies the flags.
func (f *Flags) Read() (s config.Watch, err error) {
	switch {
	case f.Config != "" && f.URL != "":
		return s, errors.New("a URL and a configuration: want only one; set url in the configuration")
	case f.Config == "" && f.URL == "":
		return s, errors.New("nothing to watch: want a URL, or a configuration with -c")
	case f.Config != "" && f.Credentials != "":
		return s, errors.New("--credentials and a configuration: want credentials in the configuration, beside url")
	case f.Config == "" && f.Profile != "":
		return s, errors.New("--profile without a configuration: want -c")
	case f.Config != "":
		s, err = config.ReadWatch(f.Config, f.Profile)
	default:
		s = config.DefaultWatch()
		if s.Source, err = credentials.ParseFlag(f.Credentials); err == nil {
			err = s.UseServer(f.URL, "", "")
		}
	}
	if err != nil {
		return s, err
	}
	switch {
	case f.Listen == "off":
		s.Pages = ""
	case f.Listen != "":
		if err := config.CheckHostPort(f.Listen); err != nil {
			return s, fmt.Errorf("--listen is %q: want host:port such as %s, or off", f.Listen, config.DefaultWatchPages)
		}
		s.Pages = f.Listen
	}
	socket, err := config.SocketFlag(f.Socket)
	if socket != nil {
		s.Socket = socket
	}
	return s, err
}
