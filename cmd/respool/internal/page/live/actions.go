package live

import "net/http"

// Actions are what a user may change after a login.
type Actions struct{}

func (a *Actions) register(*http.ServeMux) {}
