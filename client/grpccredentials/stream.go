package grpccredentials

import (
	"context"

	"google.golang.org/grpc"
)

// InterceptStream is a [grpc.StreamClientInterceptor].
func (c *Credentials) InterceptStream(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, open grpc.Streamer, options ...grpc.CallOption) (grpc.ClientStream, error) {
	with := &shown{}
	first, err := open(context.WithValue(ctx, shownKey{}, with), desc, conn, method, options...)
	if err != nil {
		return nil, err
	}
	return &stream{
		ClientStream: first, creds: c, with: with, ctx: ctx, streaming: desc.ClientStreams,
		again: func() (grpc.ClientStream, error) { return open(ctx, desc, conn, method, options...) },
	}, nil
}

// stream is a stream that may turn out to be refused when the first message is awaited.
// That a server refuses it is not known before: opening one waits for nothing.
type stream struct {
	grpc.ClientStream

	creds     *Credentials
	with      *shown
	ctx       context.Context // of the call
	streaming bool            // the client sends as much as it likes
	again     func() (grpc.ClientStream, error)

	sent   any // the only message of a client that sends one
	judged bool
}

// SendMsg implements [grpc.ClientStream].
func (s *stream) SendMsg(m any) error {
	if !s.streaming {
		s.sent = m
	}
	return s.ClientStream.SendMsg(m)
}

// RecvMsg implements [grpc.ClientStream].
func (s *stream) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	if s.judged {
		return err
	}
	s.judged = true
	token, refused := s.with.refused(err)
	if !refused || !s.creds.another(s.ctx, token) || s.streaming || s.sent == nil {
		return err
	}
	second, failed := s.again()
	if failed != nil {
		return err // the refusal says more
	}
	s.ClientStream = second
	if failed := second.SendMsg(s.sent); failed != nil {
		return failed
	}
	if failed := second.CloseSend(); failed != nil {
		return failed
	}
	return second.RecvMsg(m)
}
