// Package page tests the page of respool watch and respool serve in Chromium, against real servers.
package page
