"""What is measured on label maps alone, without a network.

label_bounds    what a stride leaves of the label maps, class by class
methods         PCA, gradient descent and an auto-encoder compared (Sec. 3.1)
void_rules      which rule for void pixels rebuilds label maps best
"""
