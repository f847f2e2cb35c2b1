"""Scans held by token, the queue of the model, limits and HTTP routes; knows no Gradio."""
