"""The live page: picture, frame rate, latency, detections. Read-only."""
