"""The Open Inference Protocol's bodies: JSON and binary tensors to images, and answers back. No HTTP here.

Sources: kserve/open-inference-protocol, specification/protocol/inference_rest.md, and the extensions
binary_tensor_data and classification of triton-inference-server/server, docs/protocol.
"""
