"""What the page does, without Gradio: plain values in, plain values out; `app.py` wires it."""
