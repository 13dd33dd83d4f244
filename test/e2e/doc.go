// Package e2e holds the tests of the public client against real servers, sentinels and broken networks. It has no
// code of its own.
package e2e
