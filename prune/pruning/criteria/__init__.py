"""Importance criteria by name, and what each needs; light enough for ``--help``, the classes are beside it.

``weights`` holds those that look at weights alone, ``gradients`` those that look at gradients on labeled images.
"""

IMPORTANCE_TYPES: dict[str, str] = {
    "Taylor": "batch",
    "Magnitude": "",
    "Random": "",
    "FPGM": "",
    "BNScale": "",
    "LAMP": "",
    "Hessian": "sample",
    "Jacobian": "batch",
}
"""Choices of ``--importance_type``, each with what its gradients are taken of: every batch, every sample, or nothing."""
CLASS_BALANCE = "Taylor"
"""The criterion that can be taken per class."""
