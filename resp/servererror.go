package resp

import "strings"

// ServerError is an error that the server sent as a reply: it received the command and refused it.
type ServerError struct {
	Code    string // first word in capitals: ERR, WRONGTYPE, NOAUTH, ...; ERR if there is none
	Message string // the text after the code, or the whole text if there is no code
}

// NewServerError splits the text of an error reply into code and message.
func NewServerError(text string) *ServerError {
	code, message, ok := strings.Cut(text, " ")
	if code == "" || strings.ToUpper(code) != code {
		return &ServerError{Code: "ERR", Message: text}
	}
	if !ok {
		return &ServerError{Code: code}
	}
	return &ServerError{Code: code, Message: message}
}

// Error returns the code and the message.
func (e *ServerError) Error() string {
	if e.Message == "" {
		return e.Code
	}
	return e.Code + " " + e.Message
}

// Is reports whether target is a *ServerError with the same code and, if
// target has one, the same message.
func (e *ServerError) Is(target error) bool {
	t, ok := target.(*ServerError)
	return ok && t.Code == e.Code && (t.Message == "" || t.Message == e.Message)
}

// ErrorIn returns the error in a frame. It returns nil for other replies and for malformed frames.
func ErrorIn(frame []byte) *ServerError {
	if len(frame) == 0 {
		return nil
	}
	if k := Kind(frame[0]); k != SimpleError && k != BulkError && k != Attribute {
		return nil
	}
	h, err := ReadHead(frame)
	if err != nil || h.Kind != SimpleError && h.Kind != BulkError {
		return nil
	}
	return NewServerError(string(h.Str))
}
